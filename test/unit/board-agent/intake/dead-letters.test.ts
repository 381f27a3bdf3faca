import { writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { deadLetterLimits } from '../../../../board-agent/intake/dead-letters.ts';
import { createDeadLetterProcedures } from '../../../../board-agent/procedures/dead-letters.ts';
import { createRegistry } from '../../../../board-agent/procedures/registry.ts';
import { type Bench, createBench, message, reading, settingsOf } from './support.ts';

let bench: Bench;

afterEach(() => bench.close());

const own = { ownerOf: (module: string) => (module.startsWith('n') ? 'field' : undefined) };
const { signal } = new AbortController();

/** Calls a procedure as the dispatcher does. */
async function call(name: string, kwargs: object = {}): Promise<Record<string, unknown>> {
  const registry = createRegistry(createDeadLetterProcedures(bench.intake.letters));
  return (await registry.get(`gateway.${name}`).run(kwargs as never, { signal })) as never;
}

const counts = () => bench.intake.sources()[0];

describe('dead letters', () => {
  it('are listed in pages, with the reason and what they were', async () => {
    bench = createBench({}, own);
    await bench.door.take(
      message('lost', { path: 'a/b', contentType: 'text/plain', fields: { device: 'n1' } }),
    );
    await bench.door.take({ path: 'r', payload: Uint8Array.of(0xff, 0xfe) });
    await bench.door.take(message('x'.repeat(600)));
    const first = await call('dead_letters', { limit: 2 });
    expect(first).toMatchObject({
      letters: [
        {
          id: 1,
          source: 'field',
          reason: 'unmatched',
          path: 'a/b',
          payload: 'lost',
          contentType: 'text/plain',
          fields: { device: 'n1' },
        },
        { id: 2, reason: 'undecodable', payloadBase64: '//4=', bytes: 2 },
      ],
      next: 2,
      summary: {
        letters: 3,
        byReason: { unmatched: 1, undecodable: 2 },
        unmatched: [{ path: 'a/b', letters: 1 }],
      },
    });
    const second = await call('dead_letters', { limit: 2, after: 2 });
    expect(second).toMatchObject({ letters: [{ id: 3, cut: true, bytes: 600 }], next: null });
    expect(await call('dead_letters', { after: 2, limit: 1, full: true })).toMatchObject({
      letters: [{ payload: 'x'.repeat(600) }],
    });
    expect(await call('dead_letters', { reason: 'unmatched' })).toMatchObject({
      letters: [{ id: 1 }],
      next: null,
    });
    expect(await call('dead_letters', { source: 'other' })).toMatchObject({ letters: [], next: null });
  });

  it('become readings when a rule was mended, once, with the time when they came', async () => {
    bench = createBench({ rules: [] }, own);
    const receivedAt = bench.clock.now();
    await bench.door.take(reading('n1', 1, { v: 1 }));
    await bench.door.take(reading('n1', 2, { v: 2 }));
    await bench.clock.advance(60_000);
    bench.intake.open('test', settingsOf());
    expect(await call('replay_dead_letters', { ids: [1] })).toEqual({
      stored: 1,
      duplicate: 0,
      held: 0,
      dead: 0,
    });
    expect(await call('replay_dead_letters', { all: true })).toEqual({
      stored: 1,
      duplicate: 0,
      held: 0,
      dead: 0,
    });
    expect(await call('replay_dead_letters', { all: true })).toEqual({
      stored: 0,
      duplicate: 0,
      held: 0,
      dead: 0,
    });
    expect(bench.spool.peek(10)?.readings).toEqual([
      [0, receivedAt, 1],
      [0, receivedAt, 2],
    ]);
    // Each has come twice, as far as the counts are concerned: they only grow.
    expect(counts()).toMatchObject({ received: 4, stored: 2, rejected: 2, waiting: 0 });
  });

  it('stay what they are when nothing was mended, and are counted once', async () => {
    bench = createBench({ rules: [] }, own);
    await bench.door.take(reading('n1', 1, { v: 1 }));
    expect(await call('replay_dead_letters', { reason: 'unmatched' })).toEqual({
      stored: 0,
      duplicate: 0,
      held: 0,
      dead: 1,
    });
    expect(counts()).toMatchObject({ received: 1, rejected: 1 });
    expect(await call('dead_letters')).toMatchObject({ letters: [{ id: 1 }] });
  });

  it('come in late without making the device look restarted', async () => {
    bench = createBench({ rules: [{ match: 'r/{module}', decoder: 'json' }] }, own);
    await bench.door.take(reading('n1', 1, { v: 1 }));
    for (const seq of [2, 100]) await bench.door.take({ ...reading('n1', seq, { v: seq }), path: 'r/n1' });
    bench.intake.open('test', settingsOf());
    await call('replay_dead_letters', { all: true });
    expect(await bench.door.take(reading('n1', 101, { v: 101 }))).toMatchObject({ status: 'stored' });
    expect(bench.intake.modules()).toMatchObject([{ lastSeq: 101, late: 1, restarted: 0, received: 4 }]);
  });

  it('are dropped by id, reason or all, and those that wait count as rejected then', async () => {
    bench = createBench();
    await bench.door.take(reading('stranger', 1, { v: 1 }));
    await bench.door.take(message('garbage'));
    await bench.door.take(message('garbage'));
    expect(counts()).toMatchObject({ received: 3, rejected: 2, waiting: 1 });
    expect(await call('drop_dead_letters', { reason: 'quarantined' })).toEqual({ dropped: 1 });
    expect(counts()).toMatchObject({ received: 3, rejected: 3, waiting: 0 });
    expect(await call('drop_dead_letters', { ids: [2, 77] })).toEqual({ dropped: 1 });
    expect(await call('drop_dead_letters', { all: true })).toEqual({ dropped: 1 });
    bench.restart();
    await bench.intake.start();
    expect(bench.intake.stats()).toMatchObject({ deadLetters: { letters: 0, bytes: 0 } });
  });

  it('are bounded in number and in bytes: the oldest go', async () => {
    bench = createBench({ rules: [] }, { letterBytes: 20_000 });
    for (let index = 0; index < 40; index += 1) await bench.door.take(message('x'.repeat(1000)));
    const { letters, bytes } = bench.intake.stats().deadLetters;
    expect(bytes).toBeLessThanOrEqual(20_000);
    expect(letters).toBeGreaterThan(10);
    expect(await call('dead_letters', { limit: 1 })).toMatchObject({ letters: [{ id: 41 - letters }] });
    bench.close();
    bench = createBench({ rules: [] }, { letterBytes: deadLetterLimits.bytes });
    const flood = Array.from({ length: deadLetterLimits.letters + 50 }, () => message('x'));
    for (let at = 0; at < flood.length; at += 1000)
      await Promise.all(flood.slice(at, at + 1000).map((each) => bench.door.take(each)));
    expect(bench.intake.stats().deadLetters.letters).toBe(deadLetterLimits.letters);
    expect(counts()).toMatchObject({ received: flood.length, rejected: flood.length });
  });

  it('that wait for a decision are not pushed out by rubbish, and go last', async () => {
    bench = createBench({}, { letterBytes: 20_000 });
    for (let seq = 1; seq <= 5; seq += 1) await bench.door.take(reading('stranger', seq, { v: 1 }));
    for (let index = 0; index < 40; index += 1) await bench.door.take(message('x'.repeat(1000)));
    expect(bench.intake.stats().deadLetters.byReason).toMatchObject({ quarantined: 5 });
    expect(counts()).toMatchObject({ received: 45, rejected: 40, waiting: 5 });
    for (let seq = 6; seq <= 45; seq += 1)
      await bench.door.take(reading('stranger', seq, { v: 'x'.repeat(1000) }));
    const { byReason, bytes } = bench.intake.stats().deadLetters;
    expect(byReason.undecodable).toBe(0);
    expect(bytes).toBeLessThanOrEqual(20_000);
    expect(counts()).toMatchObject({ received: 85, waiting: byReason.quarantined });
    expect(await call('dead_letters', { limit: 1 })).not.toMatchObject({ letters: [{ id: 1 }] });
  });

  it('of a source that the settings have no more stay, or are given up when they waited', async () => {
    bench = createBench();
    await bench.door.take(reading('stranger', 1, { v: 1 }));
    await bench.door.take(message('garbage'));
    bench.restart({ name: 'another' });
    expect(await call('replay_dead_letters', { all: true })).toMatchObject({ dead: 2 });
    const decisions = [{ name: 'stranger', state: 'accepted' }] as const;
    await bench.intake.decide(
      { unknownDevices: 'reject', createPerMinute: 0, version: 'v', decisions: [...decisions] },
      [],
    );
    expect(bench.intake.stats().deadLetters.byReason).toEqual({
      quarantined: 0,
      undecodable: 1,
      rejected: 1,
    });
  });

  it('hold no key in any answer', async () => {
    bench = createBench();
    const path = `${bench.dir}/key`;
    writeFileSync(path, 'a key that nobody may see', { mode: 0o600 });
    bench.intake.open('test', settingsOf({ macKeyFiles: { n1: path } }));
    await bench.door.take(reading('n1', 1, { v: 1 }));
    expect(
      JSON.stringify([await call('dead_letters'), bench.intake.stats(), bench.intake.modules()]),
    ).not.toContain('nobody may see');
  });
});
