import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEmit } from '../../../board-agent/emit.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { createSources } from '../../../board-agent/sources/create-sources.ts';
import { procedurePrefix } from '../../../board-agent/sources/procedure-prefix.ts';
import type { SimulatedStreamSettings } from '../../../board-agent/sources/simulated/settings.ts';
import { createWaveform } from '../../../board-agent/sources/simulated/waveforms.ts';
import type { Source } from '../../../board-agent/sources/source.ts';
import type { Reading } from '../../../board-agent/spool/reading.ts';
import { parseContracts, procedureNamePattern } from '../../../common/wamp/contract.ts';
import { isReservedProcedure } from '../../../common/wamp/uris.ts';
import { createFakeClock, type FakeClock, silent } from './fakes.ts';

const plain: SimulatedStreamSettings = {
  name: 'v',
  waveform: 'sine',
  type: 'number',
  unit: 'V',
  rateHz: 4,
  periodMs: 1000,
  amplitude: 2,
  offset: 1,
};
const wave = (change: Partial<SimulatedStreamSettings>, count = 5, seed = 1) => {
  const next = createWaveform({ ...plain, ...change }, seed);
  return Array.from({ length: count }, (_, sample) => next(sample));
};
const near = (values: unknown[]) => values.map((each) => Math.round((each as number) * 1e6) / 1e6);

describe('waveforms', () => {
  it.each([
    ['sine', [1, 3, 1, -1, 1]],
    ['square', [3, 3, -1, -1, 3]],
    ['triangle', [1, 3, 1, -1, 1]],
    ['counter', [1, 3, 5, 7, 9]],
    ['constant', [1, 1, 1, 1, 1]],
  ] as const)('%s has its shape over a period', (waveform, expected) => {
    expect(near(wave({ waveform }))).toEqual(expected);
  });

  it('cycles through its values, one per period', () => {
    const values = wave({ waveform: 'cycle', type: 'text', values: ['a', 'b'] }, 12);
    expect(values.join('')).toBe('aaaabbbbaaaa');
  });

  it('makes booleans of what is above the offset', () => {
    expect(wave({ waveform: 'square', type: 'boolean' })).toEqual([true, true, false, false, true]);
  });

  it('walks at random, but the same way for the same seed, and differently per stream', () => {
    const walk = { waveform: 'random-walk' } as const;
    expect(wave(walk, 50, 3)).toEqual(wave(walk, 50, 3));
    expect(wave(walk, 50, 3)).not.toEqual(wave(walk, 50, 4));
    expect(wave(walk, 50, 3)).not.toEqual(wave({ ...walk, name: 'w' }, 50, 3));
    const steps = wave(walk, 50) as number[];
    for (const [index, value] of steps.entries())
      expect(Math.abs(value - (steps[index - 1] ?? plain.offset))).toBeLessThanOrEqual(plain.amplitude);
  });
});

describe('sources', () => {
  let clock: FakeClock;
  let readings: Reading[];
  let stateDir: string;

  afterEach(() => rmSync(stateDir, { recursive: true }));

  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-sources-'));
    clock = createFakeClock(1_000_000);
    readings = [];
  });

  function create(sources: unknown[]): Source[] {
    const emit = createEmit({ spool: { add: (each) => void readings.push(each) }, clock, logger: silent });
    const intake = { open: () => ({ take: async () => ({ status: 'held' }) as const, setFault: () => {} }) };
    return createSources(parseSettings({ sources }).sources, {
      emit,
      intake,
      clock,
      logger: silent,
      stateDir,
    });
  }

  const simulated = {
    kind: 'simulated',
    module: 'hv',
    streams: [
      { name: 'fast', waveform: 'counter', rateHz: 100 },
      { name: 'slow', waveform: 'counter', rateHz: 0.5 },
    ],
  };

  it('emits each stream at its rate with the times of its samples', async () => {
    const [source] = create([simulated]);
    await source?.start();
    await clock.advance(4000);
    await source?.stop();
    const fast = readings.filter((each) => each.stream.name === 'hv/fast');
    expect(fast.length).toBeGreaterThanOrEqual(390);
    expect(fast.map((each) => each.value)).toEqual(fast.map((_, index) => index));
    expect(fast.slice(0, 3).map((each) => each.at)).toEqual([1_000_000, 1_000_010, 1_000_020]);
    expect(readings.filter((each) => each.stream.name === 'hv/slow')).toHaveLength(3);
    expect(clock.pending()).toEqual([]);
  });

  it('holds a stream at a value until it is reset', async () => {
    const [source] = create([simulated]);
    await source?.start();
    const run = (name: string, kwargs: object) =>
      source?.procedures
        .find((each) => each.contract.name === name)
        ?.run(kwargs as never, { signal: AbortSignal.any([]) });
    expect(run('hv.set', { stream: 'fast', value: -1 })).toEqual({ stream: 'hv/fast', overridden: true });
    readings = [];
    await clock.advance(1000);
    expect(
      new Set(readings.filter((each) => each.stream.name === 'hv/fast').map((each) => each.value)),
    ).toEqual(new Set([-1]));
    expect(run('hv.reset', {})).toEqual({ reset: 1 });
    await clock.advance(1000);
    await source?.stop();
    expect(readings.at(-1)?.value).toBeGreaterThan(0);
    expect(() => run('hv.set', { stream: 'fast', value: 'text' })).toThrow('type number');
  });

  it('counts what it has really executed, over restarts, and stops when told', async () => {
    const step = () =>
      create([simulated])[0]?.procedures.find((each) => each.contract.name === 'hv.step')?.run;
    const { signal } = new AbortController();
    const operation = { id: 'x', attempt: 2 };
    expect(await step()?.({ label: 'a' }, { signal, operation })).toEqual({ count: 1 });
    const said: unknown[] = [];
    const second = step()?.({ seconds: 4 }, { signal, progress: (value) => void said.push(value) });
    await clock.advance(4000);
    expect(await second).toEqual({ count: 2 });
    expect(said).toEqual([0, 25, 50, 75].map((percent) => ({ percent })));
    const abort = new AbortController();
    const third = step()?.({ seconds: 4 }, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(third).rejects.toThrow('enough');
    const lines = readFileSync(join(stateDir, 'executions.log'), 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { module: 'hv', operationId: 'x', attempt: 2, label: 'a' },
      { operationId: null },
      { operationId: null },
    ]);
  });

  it('measures the host', async () => {
    const [source] = create([{ kind: 'system', intervalMs: 1000 }]);
    await source?.start();
    await clock.advance(1100);
    await source?.stop();
    const names = readings.map((each) => each.stream.name);
    expect(names).toEqual(expect.arrayContaining(['system/load1', 'system/memory_used', 'system/disk_used']));
    expect(source?.modules[0]?.streams.map((each) => each.name)).toEqual(expect.arrayContaining(names));
    for (const { value, stream } of readings) if (stream.unit === '%') expect(value).toBeLessThanOrEqual(100);
  });

  it('publishes contracts that the server accepts, whatever a module is called', () => {
    for (const module of ['hv', 'Hall-2', '9.lives', '_x.__y', 'operation', 'operation.x', '-..:', 'a..b.']) {
      expect(procedurePrefix(module)).toMatch(procedureNamePattern);
      expect(isReservedProcedure(`${procedurePrefix(module)}.set`)).toBe(false);
    }
    const many = Array.from({ length: 500 }, (_, index) => ({
      name: `stream-with-a-long-name-${index}`.padEnd(80, 'x'),
      waveform: 'sine',
    }));
    for (const streams of [simulated.streams, many]) {
      const [source] = create([{ ...simulated, streams }]);
      const contracts = source?.procedures.map((each) => each.contract);
      expect(parseContracts(contracts, 'procedures')).toEqual(contracts);
    }
  });

  it('keeps out of the spool what cannot be sent', () => {
    const emit = createEmit({ spool: { add: (each) => void readings.push(each) }, clock, logger: silent });
    const number = { name: 'a/n', type: 'number', unit: '' } as const;
    const text = { name: 'a/t', type: 'text', unit: '' } as const;
    emit(number, Number.NaN);
    emit(number, Number.POSITIVE_INFINITY);
    emit(number, '5');
    emit(number, 5, -1);
    emit(number, 5, 1.5);
    emit(text, 'x'.repeat(2001));
    emit(number, 6);
    expect(readings.map((each) => each.value)).toEqual([6]);
  });
});
