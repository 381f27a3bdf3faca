import { afterEach, describe, expect, it } from 'vitest';
import type { ModulesAnswer } from '../../../../common/wamp/modules.ts';
import { type Bench, createBench, reading, statuses } from './support.ts';

let bench: Bench;

afterEach(() => bench.close());

const answer = (more: Partial<ModulesAnswer> = {}): ModulesAnswer => ({
  unknownDevices: 'create',
  createPerMinute: 10,
  version: 'v1',
  ...more,
});

const values = () => bench.spool.peek(1000)?.readings.map(([, , value]) => value) ?? [];
const states = () => Object.fromEntries(bench.intake.modules().map((each) => [each.name, each.state]));
const balance = () => {
  const [counts] = bench.intake.sources();
  if (!counts) throw new Error('the source has no counts');
  const { received, stored, duplicate, rejected, waiting } = counts;
  expect(received).toBe(stored + duplicate + rejected + waiting);
  return { received, stored, duplicate, rejected, waiting };
};

describe('who is let in', () => {
  it('lets unknown devices in when the policy says create, up to so many in a minute', async () => {
    bench = createBench();
    await bench.intake.decide(answer({ createPerMinute: 2, decisions: [] }), []);
    const take = (name: string) => bench.door.take(reading(name, 1, { v: 1 }));
    expect(await statuses(['a', 'b', 'c', 'a'].map(take))).toEqual(['stored', 'stored', 'held', 'duplicate']);
    await bench.clock.advance(61_000);
    expect(await statuses(['d', 'c'].map(take))).toEqual(['stored', 'held']);
    expect(states()).toEqual({ a: 'accepted', b: 'accepted', c: 'quarantined', d: 'accepted' });
  });

  it('keeps what a held device says, and gives it on in order when the device is accepted', async () => {
    bench = createBench();
    const sent = Array.from({ length: 120 }, (_, index) =>
      bench.door.take(reading('n1', index + 1, { v: index })),
    );
    expect(new Set(await statuses(sent))).toEqual(new Set(['held']));
    expect(balance()).toMatchObject({ received: 120, waiting: 120 });
    bench.restart();
    const decided = bench.intake.decide(
      answer({ unknownDevices: 'quarantine', decisions: [{ name: 'n1', state: 'accepted' }] }),
      ['n1'],
    );
    // Comes while the others are still on their way: it must not overtake them.
    const late = bench.door.take(reading('n1', 121, { v: 120 }));
    await decided;
    expect((await late).status).toMatch(/held|stored/);
    await bench.intake.decide(answer({ version: 'v2' }), []);
    expect(values()).toEqual(Array.from({ length: 121 }, (_, index) => index));
    expect(balance()).toEqual({ received: 121, stored: 121, duplicate: 0, rejected: 0, waiting: 0 });
    expect(bench.intake.modules()).toMatchObject([
      { name: 'n1', state: 'accepted', received: 121, missed: 0, late: 0, restarted: 0 },
    ]);
    expect(bench.intake.isHolding()).toBe(false);
  });

  it('rejects what a held device said when the device is rejected, and what it says then', async () => {
    bench = createBench();
    await bench.door.take(reading('n1', 1, { v: 1 }));
    await bench.intake.decide(answer({ decisions: [{ name: 'n1', state: 'rejected' }] }), ['n1']);
    expect(await bench.door.take(reading('n1', 2, { v: 2 }))).toMatchObject({
      status: 'dead',
      reason: 'rejected',
    });
    expect(values()).toEqual([]);
    expect(balance()).toEqual({ received: 2, stored: 0, duplicate: 0, rejected: 2, waiting: 0 });
    expect(bench.intake.modules()).toMatchObject([{ state: 'rejected', refused: 2, received: 0 }]);
  });

  it('treats the devices of before the first answer as its policy says', async () => {
    bench = createBench();
    await bench.door.take(reading('known', 1, { v: 1 }));
    await bench.door.take(reading('unknown', 1, { v: 2 }));
    expect(states()).toEqual({ known: 'quarantined', unknown: 'quarantined' });
    await bench.intake.decide(answer({ decisions: [{ name: 'known', state: 'rejected' }] }), []);
    expect(states()).toEqual({ known: 'rejected', unknown: 'accepted' });
    expect(values()).toEqual([2]);
  });

  it('knows its decisions without the server, after a restart', async () => {
    bench = createBench();
    await bench.intake.decide(
      answer({ unknownDevices: 'reject', decisions: [{ name: 'a', state: 'accepted' }] }),
      [],
    );
    bench.restart();
    expect(
      await statuses([
        bench.door.take(reading('a', 1, { v: 1 })),
        bench.door.take(reading('b', 1, { v: 1 })),
      ]),
    ).toEqual(['stored', 'dead']);
    await bench.intake.start();
    expect(bench.intake.decisionsVersion()).toBe('v1');
  });

  it('forgets a device that the server has forgotten: its next message meets the policy', async () => {
    bench = createBench();
    await bench.intake.decide(answer({ decisions: [{ name: 'a', state: 'rejected' }] }), []);
    await bench.door.take(reading('a', 1, { v: 1 }));
    await bench.intake.decide(answer({ version: 'v2', decisions: [] }), []);
    expect(await bench.door.take(reading('a', 2, { v: 2 }))).toMatchObject({ status: 'stored' });
    // Let in by policy and not reported yet: an answer that does not name it says nothing about it.
    await bench.intake.decide(answer({ version: 'v3', unknownDevices: 'reject', decisions: [] }), []);
    expect(states()).toEqual({ a: 'accepted' });
  });

  it('takes no message for a module of another source', async () => {
    bench = createBench({}, { ownerOf: (module) => (module === 'system' ? 'system' : undefined) });
    await bench.intake.decide(answer({ decisions: [] }), []);
    expect(await bench.door.take(reading('system', 1, { v: 1 }))).toMatchObject({
      status: 'dead',
      reason: 'rejected',
    });
  });

  it('has room for a thousand devices', async () => {
    bench = createBench();
    await bench.intake.decide(answer({ createPerMinute: 5000, decisions: [] }), []);
    const take = (index: number) => bench.door.take(reading(`d${index}`, 1, { v: 1 }));
    expect(new Set(await statuses(Array.from({ length: 1000 }, (_, index) => take(index))))).toEqual(
      new Set(['stored']),
    );
    expect(await take(1000)).toMatchObject({
      status: 'dead',
      reason: 'rejected',
      detail: expect.stringContaining('1000 devices'),
    });
    expect(await bench.door.take(reading('d5', 2, { v: 1 }))).toMatchObject({ status: 'stored' });
  });
});
