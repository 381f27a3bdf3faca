/** The balance of readings: each hop against rows that the real writers made. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import type { ReadingTuple, StreamDeclaration } from '../../../common/wamp/readings.ts';
import { createMetrics } from '../../../conductor/metrics.ts';
import { watchFlow } from '../../../conductor/tasks/flow.ts';
import { createBacklogs } from '../../../wamp-agent/presence/backlogs.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';
import { openSpool } from '../readings-query-support.ts';

const logger = createLogger('test', 'silent');
const declared: StreamDeclaration[] = [{ name: 'n1/temp', type: 'number', unit: '' }];
const at = Date.now() - 3_600_000;
const readings = (count: number) =>
  Array.from({ length: count }, (_, index): ReadingTuple => [0, at + index, index]);

let api: TestApi;
let database: Database;
beforeAll(async () => {
  api = await startTestApi();
  database = createDatabase({ url: api.databaseUrl, logger });
});
afterAll(async () => {
  await database?.close();
  await api?.stop();
});

async function reader(tenant: string): Promise<string> {
  return (await api.rows.user({ memberships: { [tenant]: 'user_iot' } })).token;
}

async function source(board: string, name: string, counts: object): Promise<void> {
  await api.rows.insert('board_sources', {
    board_uuid: board,
    name,
    kind: 'coap',
    reported_at: new Date(),
    ...counts,
  });
}

const hopsOf = async (path: string, token: string) => {
  const answer = await api.request(path, { token });
  expect(answer.status).toBe(200);
  return answer.body.hops;
};

describe('the flow', () => {
  it('adds up what sources heard, and what boards numbered, sent twice, lost and still hold', async () => {
    const tenant = await api.rows.tenant();
    const token = await reader(tenant);
    const [first, second] = [await api.rows.board(tenant), await api.rows.board(tenant)];
    await source(first, 'coap', { received: 10, stored: 6, duplicate: 2, rejected: 1, waiting: 1 });
    await source(second, 'mqtt', { received: 5, stored: 5, duplicate: 0, rejected: 0, waiting: 0 });
    const spool = await openSpool(database, api.connection, first, declared);
    await spool.append(readings(20));
    await spool.append(readings(8), -8);
    await spool.append(readings(10), 5);
    await spool.append(readings(3), -1);
    const backlogs = createBacklogs(database, logger);
    backlogs.note(first, 7);
    backlogs.note('11111111-1111-4111-8111-111111111111', 7);
    await backlogs.stop();

    const gateway = { hop: 'gateway', unit: 'messages', balanced: true, difference: 0 };
    expect(await hopsOf(`/v1/tenants/${tenant}/flow`, token)).toMatchObject([
      { ...gateway, received: 15, stored: 11, duplicate: 2, rejected: 1, waiting: 1 },
      {
        hop: 'spool',
        unit: 'readings',
        received: 53,
        stored: 32,
        duplicate: 9,
        rejected: 5,
        waiting: 7,
        balanced: true,
      },
      { hop: 'sinks', unit: 'points', received: 0, balanced: true },
    ]);
    expect(await hopsOf(`/v1/boards/${second}/flow`, token)).toMatchObject([
      { ...gateway, received: 5, stored: 5 },
      { hop: 'spool', received: 0, reportedAt: null, balanced: true },
    ]);
  });

  it('adds up exactly, also beside a board whose numbers are absurd', async () => {
    const tenant = await api.rows.tenant();
    const [usual, absurd] = [await api.rows.board(tenant), await api.rows.board(tenant)];
    await (await openSpool(database, api.connection, usual, declared)).append(readings(2));
    const spool = await openSpool(database, api.connection, absurd, declared);
    await spool.append(readings(5), Number.MAX_SAFE_INTEGER - 5);
    expect(await hopsOf(`/v1/tenants/${tenant}/flow`, await reader(tenant))).toMatchObject([
      { hop: 'gateway', balanced: true },
      { hop: 'spool', stored: 7, difference: 0, balanced: true },
      { hop: 'sinks', balanced: true },
    ]);
  });

  it('says when a hop does not add up', async () => {
    const tenant = await api.rows.tenant();
    const uuid = await api.rows.board(tenant);
    await source(uuid, 'coap', { received: 10, stored: 6, duplicate: 0, rejected: 0, waiting: 0 });
    const spool = await openSpool(database, api.connection, uuid, declared);
    await spool.append(readings(4));
    await api.connection.query('UPDATE board_spools SET received = received - 1 WHERE board_uuid = ?', [
      uuid,
    ]);
    expect(await hopsOf(`/v1/boards/${uuid}/flow`, await reader(tenant))).toMatchObject([
      { hop: 'gateway', balanced: false, difference: 4 },
      { hop: 'spool', balanced: false, difference: 1 },
    ]);

    const metrics = createMetrics();
    const said: object[] = [];
    const log = { ...logger, error: (fields: object) => void said.push(fields) };
    expect(await watchFlow({ database, logger: log }, metrics)).toEqual({ gateway: 4, spool: 1, sinks: 0 });
    expect(said).toMatchObject([{ hop: 'gateway' }, { hop: 'spool' }]);
    const text = await metrics.registry.metrics();
    expect(text).toContain('boardwalk_flow{hop="gateway",count="difference"} 4');
    expect(text).toMatch(/boardwalk_flow\{hop="spool",count="stored"\} \d+/);
  });

  it('is empty for a tenant without boards, and hidden from others', async () => {
    const [tenant, other] = [await api.rows.tenant(), await api.rows.tenant()];
    const uuid = await api.rows.board(other);
    const token = await reader(tenant);
    expect(await hopsOf(`/v1/tenants/${tenant}/flow`, token)).toMatchObject([
      { received: 0, balanced: true },
      { received: 0, balanced: true },
      { received: 0, balanced: true },
    ]);
    expect((await api.request(`/v1/tenants/${other}/flow`, { token })).status).toBe(404);
    expect((await api.request(`/v1/boards/${uuid}/flow`, { token })).status).toBe(404);
  });
});
