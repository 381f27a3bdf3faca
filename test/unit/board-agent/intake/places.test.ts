import { afterEach, describe, expect, it } from 'vitest';
import { type ModulesAnswer, moduleLimits, strangerQuietMs } from '../../../../common/wamp/modules.ts';
import { type Bench, createBench, message, reading, statuses } from './support.ts';

let bench: Bench;

afterEach(() => bench.close());

const { strangers } = moduleLimits;
const answer = (more: Partial<ModulesAnswer> = {}): ModulesAnswer => ({
  unknownDevices: 'quarantine',
  createPerMinute: 0,
  version: 'v1',
  decisions: [],
  ...more,
});
const names = () => bench.intake.modules().map((each) => each.name);
const letters = () =>
  Object.fromEntries(Object.entries(bench.intake.stats().deadLetters.byReason).filter(([, n]) => n > 0));
const hear = (name: string, seq = 1) => bench.door.take(reading(name, seq, { v: seq }));
const inventIds = (from: number, count: number) =>
  statuses(Array.from({ length: count }, (_, index) => hear(`x${from + index}`)));

function balanced(): void {
  const [counts] = bench.intake.sources();
  if (!counts) throw new Error('the source has no counts');
  expect(counts.received).toBe(counts.stored + counts.duplicate + counts.rejected + counts.waiting);
  expect(counts.waiting).toBe(letters().quarantined ?? 0);
}

async function flooded(): Promise<void> {
  bench = createBench();
  await bench.intake.decide(answer(), []);
  expect(new Set(await inventIds(0, strangers))).toEqual(new Set(['held']));
}

describe('devices that nobody knows', () => {
  it('are held up to so many; more are refused, counted, and take no place', async () => {
    await flooded();
    expect(await hear('real')).toMatchObject({
      status: 'dead',
      reason: 'rejected',
      detail: `${strangers} devices wait for a decision, more are not allowed`,
    });
    expect(await hear('x7', 2)).toMatchObject({ status: 'held' });
    expect(names()).toHaveLength(strangers);
    expect(names()).not.toContain('real');
    expect(bench.intake.sources()[0]).toMatchObject({ received: strangers + 2, rejected: 1 });
    balanced();
  });

  it('are all held before the server has said who is one', async () => {
    bench = createBench();
    expect(new Set(await inventIds(0, 2 * strangers))).toEqual(new Set(['held']));
    await bench.intake.decide(answer({ unknownDevices: 'create', createPerMinute: 1000 }), []);
    expect(letters()).toEqual({});
    expect(bench.intake.sources()[0]).toMatchObject({ stored: 2 * strangers, rejected: 0 });
  });

  it('keep no place from those that were let in', async () => {
    await flooded();
    await bench.intake.decide(
      answer({ version: 'v2', decisions: [...named(0, strangers), { name: 'real', state: 'accepted' }] }),
      [],
    );
    expect(await hear('real')).toMatchObject({ status: 'stored' });
    await bench.intake.decide(
      answer({ version: 'v3', unknownDevices: 'create', createPerMinute: 5, decisions: named(0, strangers) }),
      ['real'],
    );
    await bench.clock.advance(61_000);
    expect(await hear('fresh')).toMatchObject({ status: 'stored' });
  });

  it('give way when they have been quiet: the longest unheard first, and whoever speaks on stays', async () => {
    await flooded();
    await bench.clock.advance(strangerQuietMs / 2);
    expect(await hear('x1', 2)).toMatchObject({ status: 'held' });
    expect(await hear('real')).toMatchObject({ status: 'dead' });
    await bench.clock.advance(strangerQuietMs / 2);
    expect(await hear('real', 2)).toMatchObject({ status: 'held' });
    expect(names()).toHaveLength(strangers);
    expect(names()).toContain('x1');
    expect(names()).not.toContain('x0');
    // What the one that gave way had said can still be looked at.
    expect(letters()).toEqual({ quarantined: strangers + 1, rejected: 2 });
    balanced();
    // A flood that goes on: the invented ids come and go, and the one that is heard again and again stays.
    for (let round = 1; round <= 5; round += 1) {
      await bench.clock.advance(strangerQuietMs / 2);
      await hear('real', 2 + round);
      await inventIds(round * 1000, strangers + 10);
    }
    expect(names()).toContain('real');
    expect(names()).not.toContain('x1');
    expect(names()).toHaveLength(strangers);
    balanced();
  });

  it('find no place by coming together in one message', async () => {
    bench = createBench({ rules: [{ match: 'r', decoder: 'senml+json' }] });
    await bench.intake.decide(answer(), []);
    const together = (from: number, count: number) =>
      bench.door.take(
        message(Array.from({ length: count }, (_, index) => ({ n: `x${from + index}/v`, v: 1 }))),
      );
    expect(await together(0, strangers - 1)).toMatchObject({ status: 'held' });
    expect(await together(1000, 2)).toMatchObject({ status: 'dead', reason: 'rejected' });
    expect(await together(2000, 1)).toMatchObject({ status: 'held' });
    expect(names()).toHaveLength(strangers);
    await bench.clock.advance(strangerQuietMs);
    expect(await together(3000, 3)).toMatchObject({ status: 'held' });
    expect(await together(4000, strangers)).toMatchObject({ status: 'dead' });
    expect(names()).toHaveLength(strangers);
    balanced();
  });

  it('leave nothing that would bring them back when somebody clears the quarantine', async () => {
    await flooded();
    await bench.intake.decide(answer({ version: 'v2', decisions: named(0, strangers) }), names());
    await bench.intake.decide(answer({ version: 'v3', decisions: [{ name: 'x3', state: 'accepted' }] }), []);
    expect(names()).toEqual(['x3']);
    expect(letters()).toEqual({ rejected: strangers - 1 });
    expect(bench.intake.isHolding()).toBe(false);
    balanced();
    expect(await hear('real')).toMatchObject({ status: 'held' });
    // Nothing is lost for good: what they said can be replayed by hand.
    const [letter] = await bench.intake.letters.list({}, { limit: 1 });
    expect(letter).toMatchObject({ reason: 'rejected', detail: expect.stringMatching(/was forgotten$/) });
  });
});

const named = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `x${from + index}`, state: 'quarantined' as const }));
