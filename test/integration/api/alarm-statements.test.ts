/** Lists of alarms look at what they show, however many others there are. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AlarmFilter, listAlarmRows } from '../../../api/alarms/alarm-queries.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { openConductorDatabase } from '../conductor/support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let tenant: string;

beforeAll(async () => {
  db = await openConductorDatabase();
  tenant = await db.rows.tenant();
  await fill(await db.rows.tenant(), 10_000);
  await fill(tenant, 10_000);
  await db.connection.query('ANALYZE TABLE alarms');
}, 120_000);
afterAll(() => db?.close());

/** Cleared warnings. */
async function fill(tenantId: string, count: number): Promise<void> {
  const at = new Date();
  for (let from = 0; from < count; from += 2000)
    await db.connection.query(
      `INSERT INTO alarms (id, tenant_id, rule_id, rule_name, revision, severity, board_uuid, board_name, stream_id,
         state, since, raised_at, cleared_at, evidence) VALUES ?`,
      [
        Array.from({ length: 2000 }, () => [
          ...[timeUuid(), tenantId, randomUUID(), 'r', 1, 'warning', randomUUID(), 'b', 1],
          ...['cleared', 1, at, at, '{}'],
        ]),
      ],
    );
}

/** Rows that the server looks at. */
async function cost(filter: Partial<AlarmFilter>): Promise<number> {
  const all = {
    tenants: 'all' as const,
    scopeBoards: null,
    states: undefined,
    severities: undefined,
    board: undefined,
    rule: undefined,
  };
  return db.database.read(async (manager) => {
    const looked = async () => {
      const rows = (await manager.query("SHOW SESSION STATUS LIKE 'Handler_read%'")) as { Value: string }[];
      return rows.reduce((sum, { Value }) => sum + Number(Value), 0);
    };
    const before = await looked();
    await listAlarmRows(manager, { ...all, ...filter }, { limit: 100, after: undefined });
    return (await looked()) - before;
  });
}

describe('a list of alarms', () => {
  it('of a severity that a tenant hardly has costs nothing', async () => {
    expect(await cost({ tenants: [tenant], severities: ['critical'] })).toBeLessThan(500);
  });

  it('of those that are open costs nothing, also of all tenants', async () => {
    expect(await cost({ states: ['raised', 'acknowledged'] })).toBeLessThan(500);
    expect(await cost({ tenants: [tenant], states: ['raised'] })).toBeLessThan(500);
  });

  it('of the newest costs what it shows', async () => {
    expect(await cost({})).toBeLessThan(500);
    expect(await cost({ tenants: [tenant] })).toBeLessThan(500);
  });
});
