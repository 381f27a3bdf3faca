/** What every kind of sink owes the delivery, on real parts; InfluxDB v2 on a stub of its documented answers. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTarget } from '../../../../conductor/sinks/kinds.ts';
import type { SinkPoint, SinkTarget, WriteOutcome } from '../../../../conductor/sinks/sink-kind.ts';
import { until } from '../../../harness/until.ts';
import { pointOf, type Stand, stands } from './support.ts';

describe.each(Object.entries(stands))('a sink of kind %s', (_name, startStand) => {
  let stand: Stand;
  let target: SinkTarget;
  const expected: unknown[] = [];
  let seq = 0;

  const open = (sinkId: string = randomUUID()) =>
    createTarget(stand.kind, stand.settings, stand.secrets, {
      sinkId,
      tenantId: 't',
      config: stand.config,
      timeoutMs: 5000,
    });
  const next = (value?: SinkPoint['value']) => {
    seq += 1;
    return pointOf(seq, value);
  };
  const write = (points: SinkPoint[]) => target.write(points, new AbortController().signal);
  const arrived = async () => {
    await until('all of it is there', async () => (await stand.values()).length >= expected.length);
    expect(await stand.values()).toEqual(expected);
  };
  const written = (rejected: [number, unknown][] = []): WriteOutcome => ({
    outcome: 'written',
    rejected: new Map(rejected) as Map<number, string>,
  });

  beforeAll(async () => {
    stand = await startStand();
    target = open();
  });
  afterAll(async () => {
    await target?.close();
    await stand?.stop();
  });

  it('takes numbers, booleans and texts in order', async () => {
    const text = 'it\'s "so" \\ à la 🙂, a=b';
    const points = [next(-1.5), next(1e21), next(0), next(true), next(false), next(text)];
    expect(await write(points)).toEqual(written());
    expected.push(-1.5, 1e21, 0, true, false, text);
    await arrived();
  });

  it('refuses what it will never take, alone, and takes all the rest', async () => {
    const points = Array.from({ length: 25 }, () => next());
    const bad = stand.poison ? [4, 5, 24] : [];
    for (const index of bad) points[index] = stand.poison?.(points[index] as SinkPoint) as SinkPoint;
    const outcome = await write(points);
    const reasons = bad.map((index): [number, unknown] => [index, expect.any(String)]);
    expect(outcome).toEqual(written(reasons));
    const good = points.filter((_, index) => !bad.includes(index)).map(({ value }) => value);
    // Where a refused batch is kept in part, its halves are written again.
    expected.push(...good);
    await arrived();
  });

  it('asks for another try while it is away, and takes the same points when it is back', async () => {
    await stand.down();
    await target.close();
    const points = [next(), next()];
    const away = await write(points);
    expect(away).toMatchObject({ outcome: 'retry', reason: expect.stringMatching(/\w/) });
    await stand.up();
    await until('it takes them', async () => (await write(points)).outcome === 'written');
    expected.push(...points.map(({ value }) => value));
    await arrived();
  });

  it('goes on where another process ended', async () => {
    await target.close();
    target = open();
    const point = next();
    expect(await write([point])).toEqual(written());
    expected.push(point.value);
    await until('it is there', async () => (await stand.values()).includes(point.value));
  });

  it('stops with its sender', async () => {
    await target.close();
    expect((await target.write([next()], AbortSignal.abort())).outcome).toMatch(/retry|written/);
  });
});
