import { afterEach, describe, expect, it } from 'vitest';
import type { RawMessage } from '../../../../board-agent/intake/types.ts';
import { type Bench, createBench, message, reading, settingsOf, statuses } from './support.ts';

let bench: Bench;

afterEach(() => bench.close());

/** The source's own module: nobody has to let it in. */
const own = { ownerOf: (module: string) => (module === 'n1' ? 'field' : undefined) };

const stored = () =>
  bench.spool
    .peek(1000)
    ?.readings.map(([stream, , value]) => [bench.spool.peek(1000)?.streams[stream]?.name, value]);

describe('the intake', () => {
  it('answers when a message is on disk, with every property as a reading', async () => {
    bench = createBench({}, own);
    const outcome = await bench.door.take(reading('n1', 5, { temp: 21.5, open: true, note: 'ok' }));
    expect(outcome).toEqual({ status: 'stored', readings: 3 });
    bench.restart();
    expect(stored()).toEqual([
      ['n1/temp', 21.5],
      ['n1/open', true],
      ['n1/note', 'ok'],
    ]);
  });

  it('holds what an unknown device says until the server has spoken', async () => {
    bench = createBench();
    expect(await bench.door.take(reading('n2', 1, { temp: 1 }))).toEqual({ status: 'held' });
    expect(bench.spool.peek(10)).toBeUndefined();
  });

  it('stores a repeated number and a repeated transmission once, also after a restart', async () => {
    bench = createBench({}, own);
    const first = { ...reading('n1', undefined, { temp: 1 }), transmission: 'peer/1' };
    const results = await statuses([
      bench.door.take(reading('n1', 7, { temp: 2 })),
      bench.door.take(reading('n1', 7, { temp: 2 })),
      bench.door.take(first),
      bench.door.take(first),
    ]);
    expect(results).toEqual(['stored', 'duplicate', 'stored', 'duplicate']);
    bench.restart();
    expect(await statuses([bench.door.take(reading('n1', 7, { temp: 2 })), bench.door.take(first)])).toEqual([
      'duplicate',
      'duplicate',
    ]);
    expect(stored()).toHaveLength(2);
  });

  it('believes a transport that knows what is a repetition, also hours after a restart', async () => {
    bench = createBench({}, own);
    const first = { ...reading('n1', undefined, { temp: 1 }), transmission: 'id 1', repetition: false };
    const again = { ...first, repetition: true };
    const take = (...messages: RawMessage[]) => statuses(messages.map((each) => bench.door.take(each)));
    expect(await take(first, again, first)).toEqual(['stored', 'duplicate', 'stored']);
    bench.restart();
    await bench.clock.advance(86_400_000);
    const asked = { ...reading('n1', undefined, { temp: 1 }), transmission: 'id 1' };
    expect(await take(again, again)).toEqual(['duplicate', 'duplicate']);
    bench.restart();
    expect(await take(again, asked)).toEqual(['duplicate', 'stored']);
  });

  it('keeps what it cannot understand as a dead letter with the reason', async () => {
    bench = createBench({}, own);
    expect(await bench.door.take(message('x', { path: 'nowhere' }))).toMatchObject({
      status: 'dead',
      reason: 'unmatched',
    });
    expect(await bench.door.take(message('garbage'))).toMatchObject({
      status: 'dead',
      reason: 'undecodable',
    });
    expect(await bench.door.take(reading('no/name', 1, { temp: 1 }))).toMatchObject({
      status: 'dead',
      reason: 'undecodable',
    });
    await bench.door.take(reading('n1', 1, { temp: 1 }));
    expect(await bench.door.take(reading('n1', 2, { temp: 'warm' }))).toMatchObject({
      status: 'dead',
      reason: 'type-conflict',
    });
    expect(stored()).toHaveLength(1);
  });

  it('refuses settings whose rules name a decoder that is not there', () => {
    bench = createBench();
    expect(() => bench.intake.open('test', settingsOf({ rules: [{ match: 'x', decoder: 'none' }] }))).toThrow(
      /none/,
    );
  });
});
