/** No statement of a claim may cost more when the queues are long: looked at with 200,000 boards that wait. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HeldBoard } from '../../../common/db/queries/board-queues.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { claimBoards } from '../../../conductor/engine/claim.ts';
import { createLimits } from '../../../conductor/engine/limits.ts';
import { createSafetyCache } from '../../../conductor/engine/load.ts';
import { createPicker } from '../../../conductor/engine/pick.ts';
import { writeOutcomes } from '../../../conductor/engine/write-outcomes.ts';
import { type EngineFixture, openEngineFixture } from './engine-support.ts';

let fix: EngineFixture;
let busy: string;

beforeAll(async () => {
  fix = await openEngineFixture();
  busy = await fix.rows.tenant();
  await fill(busy, 4000, 4000);
}, 120_000);
afterAll(() => fix.close());

/**
 * Boards whose turn it is, each with one operation in its queue. Those that wait the longest, and come
 * first, are really there and online.
 */
async function fill(tenant: string, count: number, real = 200): Promise<void> {
  const [operation, at] = [timeUuid(), new Date()];
  const deadline = new Date(Date.now() + 3_600_000);
  const insert = (table: string, columns: string, rows: unknown[][]) =>
    fix.connection.query(`INSERT INTO ${table} (${columns}) VALUES ?`, [rows]);
  const made = 'deadline_at, created_at, updated_at';
  const operations = [operation, ...Array.from({ length: 1000 }, () => timeUuid())];
  await insert(
    'operations',
    `id, tenant_id, procedure_name, target, kwargs, delivery, state, created_by, target_count, ${made}`,
    operations.map((id) => [
      id,
      tenant,
      'system.echo',
      ...['{}', '{}', 'when-online', 'active', 'test', count, deadline, at, at],
    ]),
  );
  for (let from = 0; from < count; from += 10_000) {
    const uuids = Array.from({ length: Math.min(10_000, count - from) }, () => randomUUID());
    const online = from === 0 ? uuids.slice(0, real) : [];
    if (online.length > 0) {
      await insert(
        'boards',
        'uuid, tenant_id, name, status, contracts_hash, created_at, updated_at',
        online.map((uuid) => [uuid, tenant, uuid, 'online', 'same', at, at]),
      );
      await insert(
        'board_sessions',
        'id, board_uuid, live, cell, agent_id, wamp_session, boot_id, agent_version, started_at',
        online.map((uuid) => [randomUUID(), uuid, 1, 'default', uuid, 1, 'b', '1', at]),
      );
      await insert(
        'procedure_contracts',
        'board_uuid, name, contract',
        online.map((uuid) => [uuid, 'system.echo', '{"safety":"idempotent"}']),
      );
    }
    await insert(
      'operation_targets',
      `board_uuid, operation_id, tenant_id, queue, state, ${made}`,
      uuids.map((uuid) => [uuid, operation, tenant, 1, 'queued', deadline, at, at]),
    );
    await insert(
      'board_queues',
      'board_uuid, tenant_id, ready, lane, next_at, has_open, mark',
      uuids.map((uuid, index) => {
        const waits = index + from < real ? 3_600_000 - index : 1000;
        return [uuid, tenant, 1, index % 4 === 0 ? 1 : 0, new Date(Date.now() - waits), 1, 1];
      }),
    );
  }
  await fix.connection.query(
    'ANALYZE TABLE board_queues, operation_targets, operations, boards, board_sessions',
  );
}

interface Plan {
  table: string | null;
  type: string | null;
  key: string | null;
  Extra: string | null;
  rows: number | string | null;
}

/** A manager that explains what it runs before it runs it. */
function explaining(manager: EntityManager, plans: { sql: string; plan: Plan[] }[]): EntityManager {
  const query = async (sql: string, parameters?: unknown[]) => {
    if (/^\s*(\(?SELECT|UPDATE)/i.test(sql))
      plans.push({ sql, plan: (await manager.query(`EXPLAIN ${sql}`, parameters)) as Plan[] });
    return manager.query(sql, parameters) as Promise<unknown>;
  };
  return new Proxy(manager, {
    get: (target, name) => (name === 'query' ? query : Reflect.get(target, name)),
  });
}

const limits = () => createLimits({ inFlight: 200, inFlightPerTenant: 200, drainPerSecond: 1000 });
const owner = timeUuid();
const options = () => ({
  owner,
  leaseSeconds: 60,
  rules: { graceMs: 60_000, maxRuns: 8, conductor: owner },
  safeties: createSafetyCache(),
  onFault: (error: unknown) => {
    throw error;
  },
});

type Wrap = (manager: EntityManager) => EntityManager;
const plain: Wrap = (manager) => manager;

/** One look, as the engine does it: pick, claim, record. `reads` are rows that the server looked at. */
async function look(wrap: Wrap = plain): Promise<{ boards: HeldBoard[]; reads: number }> {
  let reads = 0;
  const counted = async <T>(manager: EntityManager, work: (wrapped: EntityManager) => Promise<T>) => {
    const before = await handlerReads(manager);
    const result = await work(wrap(manager));
    reads += (await handlerReads(manager)) - before;
    return result;
  };
  const picked = await fix.database.read((manager) =>
    counted(manager, (each) => createPicker(limits()).pick(each, { hinted: [], most: 64, searches: true })),
  );
  const { works } = await fix.database.transaction((manager) =>
    counted(manager, (each) => claimBoards(each, picked.boards, options())),
  );
  const changes = works.flatMap(({ targets }) =>
    targets.map(({ operation, boardUuid, operationId, tenantId, version, state: from }) => ({
      ...{ boardUuid, operationId, tenantId, version, from },
      set: { state: 'succeeded' as const, result: { done: true } },
      event: { kind: 'succeeded', evidence: {} },
      isOnly: operation.targetCount === 1,
    })),
  );
  const releases = works.map(({ loaded: { held } }) => ({ board: held, nextAt: undefined, hasOpen: false }));
  await fix.database.transaction((manager) =>
    counted(manager, (each) => writeOutcomes(each, owner, { changes, releases, now: Date.now() })),
  );
  return { boards: works.map(({ loaded: { held } }) => held), reads };
}

async function handlerReads(manager: EntityManager): Promise<number> {
  const rows = (await manager.query("SHOW SESSION STATUS LIKE 'Handler_read%'")) as { Value: string }[];
  return rows.reduce((sum, { Value }) => sum + Number(Value), 0);
}

async function medianMs(times: number): Promise<number> {
  const took: number[] = [];
  for (let count = 0; count < times; count += 1) {
    const startedAt = performance.now();
    expect((await look()).boards).toHaveLength(64);
    took.push(performance.now() - startedAt);
  }
  return took.sort((left, right) => left - right)[Math.floor(times / 2)] ?? 0;
}

describe('a claim among 200,000 boards that wait', () => {
  it('scans nothing, and takes about as long as among a thousand', async () => {
    await look();
    const short = await medianMs(7);
    await fill(busy, 100_000);
    for (let count = 0; count < 20; count += 1) await fill(await fix.rows.tenant(), 5000);
    const plans: { sql: string; plan: Plan[] }[] = [];
    expect((await look((manager) => explaining(manager, plans))).boards).toHaveLength(64);
    expect(plans.length).toBeGreaterThan(8);
    for (const { sql, plan } of plans)
      for (const { table, type, key, Extra } of plan) {
        // Derived tables hold what the statement brings along.
        if (table === null || type === null || table.startsWith('<') || table === 'd') continue;
        const where = `${table} by ${type} ${key} in: ${sql.slice(0, 300)}`;
        expect(type, where).not.toMatch(/^(ALL|index)$/);
        expect(key, where).not.toBeNull();
        // What is sorted is read to its end first.
        expect(Extra ?? '', where).not.toContain('filesort');
      }
    // 64 boards in some fifteen statements. Tenants are jumped over, and each gives its first ones.
    expect((await look()).reads).toBeLessThan(8000);
    // Machines are noisy: a scan would take a hundred times as long.
    expect(await medianMs(7)).toBeLessThan(short * 4 + 100);
  }, 180_000);
});
