import { afterEach, describe, expect, it } from 'vitest';
import type { RawMessage } from '../../../../board-agent/intake/types.ts';
import type { ModuleState } from '../../../../common/wamp/modules.ts';
import { type Bench, createBench, message, reading, settingsOf } from './support.ts';

let bench: Bench;

afterEach(() => bench.close());

const states: ModuleState[] = ['accepted', 'quarantined', 'rejected'];
const policies = ['create', 'quarantine', 'reject'] as const;

function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** Sends, decides, replays, drops and restarts at random; the counts must hold at every moment. */
async function liveThrough(seed: number): Promise<void> {
  const random = createRandom(seed);
  bench = createBench({ maxPerSecond: 3 }, { letterBytes: 8000, maxBytes: 2_000_000 });
  const sequences = new Map<string, number>();
  const seen = { stored: 0, readings: 0, acknowledged: 0 };
  let version = 0;

  function randomMessage(): RawMessage {
    const name = `d${random(8)}`;
    const seq = Math.max(0, (sequences.get(name) ?? 0) + 1 - (random(4) === 0 ? random(70) : 0));
    sequences.set(name, Math.max(seq, sequences.get(name) ?? 0));
    const kind = random(10);
    if (kind === 0) return message('garbage');
    if (kind === 1) return message('x', { path: 'nowhere' });
    if (kind === 2) return reading(name, seq, { v: 'text', w: 2 });
    if (kind === 3) return message('x'.repeat(300_000));
    return {
      ...reading(name, seq, { v: seq, w: 1 }),
      ...(random(3) === 0 && { transmission: `t${random(50)}` }),
    };
  }

  function check(): void {
    const [counts] = bench.intake.sources();
    if (!counts) throw new Error('the source has no counts');
    const { received, stored, duplicate, rejected, waiting } = counts;
    expect(received, `seed ${seed}`).toBe(stored + duplicate + rejected + waiting);
    expect(waiting).toBe(bench.intake.stats().deadLetters.byReason.quarantined ?? 0);
    expect(bench.intake.stats().deadLetters.bytes).toBeLessThanOrEqual(8000);
    expect(received).toBeGreaterThanOrEqual(seen.acknowledged);
  }

  for (let step = 0; step < 60; step += 1) {
    const outcomes = await Promise.all(
      Array.from({ length: 1 + random(30) }, () => bench.door.take(randomMessage())),
    );
    for (const each of outcomes) if (each.status !== 'unavailable') seen.acknowledged += 1;
    check();
    const what = random(8);
    if (what === 0) bench.restart();
    if (what === 1) {
      version += 1;
      const decisions = Array.from({ length: random(8) }, (_, index) => ({
        name: `d${index}`,
        state: states[random(3)] ?? 'accepted',
      }));
      const unknownDevices = policies[random(3)] ?? 'create';
      await bench.intake.decide(
        { unknownDevices, createPerMinute: random(5), version: `v${version}`, decisions },
        [],
      );
    }
    if (what === 2) await bench.intake.letters.replay({});
    if (what === 3) await bench.intake.letters.drop({ ids: [random(400), random(400)] });
    if (what === 4)
      bench.intake.open('test', settingsOf({ maxPerSecond: 3, rules: [{ match: '#', decoder: 'json' }] }));
    await bench.intake.start();
    check();
    await bench.clock.advance(random(3000));
  }
  const before = {
    sources: bench.intake.sources(),
    modules: bench.intake.modules(),
    letters: bench.intake.stats(),
  };
  bench.restart();
  await bench.intake.start();
  expect(bench.intake.sources()).toEqual(before.sources);
  expect(bench.intake.modules().sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual(
    before.modules.sort((a, b) => (a.name < b.name ? -1 : 1)),
  );
  // Two readings of each message that counts as stored, and no others.
  const stored = before.sources[0]?.stored ?? 0;
  expect(stored).toBeGreaterThan(0);
  expect(bench.spool.stats().waiting).toBe(2 * stored);
}

describe('the counts of a source', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'balance at every moment, and after a restart (%i)',
    async (seed) => {
      await liveThrough(seed);
    },
    30_000,
  );
});
