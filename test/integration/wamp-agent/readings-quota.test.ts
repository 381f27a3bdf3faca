/** The quota of readings, counted by two agents together. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReadingTuple } from '../../../common/wamp/readings.ts';
import { agentUris } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import { type Fixture, greet, helloOf, joinBoard, seedBoard, seedTenant, startFixture } from './fixture.ts';
import type { RawSession, WampError } from './raw-wamp.ts';

let fixture: Fixture;

beforeAll(async () => {
  fixture = await startFixture(2, { BOARDWALK_QUOTA_READINGS_PER_DAY: '1000000' });
});
afterAll(() => fixture?.stop());

const batchSize = 100;

async function startBoard(tenantId: string) {
  const session = await joinBoard(fixture, await seedBoard(fixture, tenantId));
  const spoolEpoch = randomUUID();
  await greet(session, helloOf({ spoolEpoch }));
  return { session, send: (from: number) => send(session, spoolEpoch, from) };
}

function send(session: RawSession, epoch: string, from: number): Promise<unknown> {
  const at = Date.now() - 1000;
  const readings = Array.from({ length: batchSize }, (_, index): ReadingTuple => [0, at, from + index]);
  const streams = [{ name: 'lab/level', type: 'number', unit: 'm' }];
  return session.call(agentUris.appendReadings, { epoch, from, streams, readings });
}

const countOf = async (tenantId: string) =>
  Number(
    (await fixture.rows('SELECT readings FROM tenant_usage WHERE tenant_id = ?', [tenantId]))[0]?.readings ??
      0,
  );

const limitTo = (tenantId: string, readingsPerDay: number) =>
  fixture.sql.query('UPDATE tenants SET quotas = ? WHERE id = ?', [
    JSON.stringify({ readingsPerDay }),
    tenantId,
  ]);

describe('readings of a tenant', () => {
  it('are counted by all agents, refused over the limit, and taken when it allows them again', async () => {
    const tenantId = await seedTenant(fixture);
    await limitTo(tenantId, 500);
    const { session, send } = await startBoard(tenantId);
    let next = 1;
    const fault = await until(
      'the limit is reached',
      async () => {
        const refusal = await send(next).catch((error: WampError) => error);
        if (refusal instanceof Error) return refusal as WampError;
        next += batchSize;
        return undefined;
      },
      { timeoutMs: 20_000, everyMs: 500 },
    );
    expect(fault.uri).toBe('boardwalk.error.too_many_requests');
    expect(fault.kwargs).toMatchObject({ quota: 'readingsPerDay', limit: 500 });
    expect(fault.kwargs.retryAfterMs).toBeLessThanOrEqual(60_000);
    expect(next).toBeGreaterThan(500);
    await until('all of it is on record', async () => (await countOf(tenantId)) === next - 1);
    const [stored] = await fixture.rows('SELECT COUNT(*) AS n FROM readings');
    expect(stored?.n).toBe(next - 1);
    expect(await fixture.rows("SELECT * FROM audit_events WHERE result = 'too-many-requests'")).toEqual([]);

    // The board has kept what was refused, and sends the same again.
    await limitTo(tenantId, 100_000);
    await until('it is taken', () => send(next).then(() => true), { everyMs: 500 });
    await session.leave();
  });

  it('of other tenants go on meanwhile, and repeated ones are counted once', async () => {
    const tenantId = await seedTenant(fixture);
    const { session, send } = await startBoard(tenantId);
    await Promise.all([send(1), send(1), send(1)]);
    await until('they are counted', async () => (await countOf(tenantId)) > 0);
    expect(await countOf(tenantId)).toBe(batchSize);
    await session.leave();
  });
});
