/**
 * What does not grow: the cost of claiming with a thousand and with a million boards in the queues, and
 * of finding the schedules that are due among a hundred and among ten thousand. The stack's conductor
 * stands still meanwhile; what it would do is done here, and rolled back.
 */
import { randomUUID } from 'node:crypto';
import { createDatabase, type Database } from '../../common/db/database.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import { timeUuid } from '../../common/runtime/time-uuid.ts';
import { claimBoards } from '../../conductor/engine/claim.ts';
import { createLimits } from '../../conductor/engine/limits.ts';
import { createSafetyCache } from '../../conductor/engine/load.ts';
import { createPicker } from '../../conductor/engine/pick.ts';
import { findDueSchedules } from '../../conductor/schedules/schedule-queries.ts';
import type { BenchContext } from '../context.ts';
import { median } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const few = 1000;
const many = 1_000_000;
const claimed = 64;
/** Boards that are really there, and come first in the queue. */
const present = 200;
const rounds = 100;

export async function measureClaims(context: BenchContext): Promise<Result[]> {
  return withStandstill(context, async (database) => {
    const operation = await addOperation(context);
    await addQueued(context, operation, few);
    const atFew = await timeClaims(database);
    await addQueued(context, operation, many - few);
    const atMany = await timeClaims(database);
    await context.database.query('TRUNCATE TABLE board_queues');
    await context.database.query('TRUNCATE TABLE operation_targets');
    await context.database.query('DELETE FROM operations WHERE id = ?', [operation]);
    await context.database.query("DELETE FROM boards WHERE name LIKE 'queued-%'");
    return [
      createResult(
        {
          name: 'operations.claim',
          unit: 'ms',
          value: atMany,
          raw: atFew,
          note: `${claimed} boards; raw: with ${few} in the queues instead of ${many}`,
        },
        { atMost: 1.5 },
      ),
    ];
  });
}

async function withStandstill<T>(
  { stack }: BenchContext,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  stack.kill('conductor', 'SIGSTOP');
  const database = createDatabase({
    url: stack.databaseUrl,
    logger: createLogger('bench', 'silent'),
    queryTimeoutMs: 0,
  });
  try {
    return await work(database);
  } finally {
    await database.close();
    stack.kill('conductor', 'SIGCONT');
  }
}

async function addOperation(context: BenchContext): Promise<string> {
  const id = timeUuid();
  const now = new Date();
  await context.database.query('INSERT INTO operations SET ?', [
    {
      id,
      tenant_id: await context.tenantId(),
      procedure_name: 'ping',
      kwargs: '{}',
      target: '{}',
      delivery: 'when-online',
      state: 'active',
      target_count: many,
      deadline_at: new Date(now.getTime() + 86_400_000),
      created_by: 'bench',
      created_at: now,
      updated_at: now,
    },
  ]);
  return id;
}

/** Rows made by the server from its sequence engine: a million from here would take minutes. */
async function addQueued(context: BenchContext, operation: string, count: number): Promise<void> {
  const { database } = context;
  const tenant = await context.tenantId();
  const step = 100_000;
  for (let from = 1; from <= count; from += step) {
    const to = Math.min(count, from + step - 1);
    await database.query(
      `INSERT INTO board_queues (board_uuid, tenant_id, ready, lane, next_at, has_open, mark)
       SELECT UUID(), ?, 1, 0, UTC_TIMESTAMP(3) - INTERVAL seq SECOND, 1, 1 FROM seq_${from}_to_${to}`,
      [tenant],
    );
  }
  await database.query(
    `INSERT IGNORE INTO operation_targets
       (board_uuid, operation_id, tenant_id, queue, state, deadline_at, created_at, updated_at)
     SELECT board_uuid, ?, tenant_id, 1, 'queued', UTC_TIMESTAMP(3) + INTERVAL 1 DAY, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)
     FROM board_queues`,
    [operation],
  );
  // Those that wait the longest now are the ones that a claim takes.
  await database.query(
    `INSERT IGNORE INTO boards (uuid, tenant_id, name, created_at, updated_at)
     SELECT board_uuid, tenant_id, CONCAT('queued-', board_uuid), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)
     FROM board_queues WHERE ready = 1 AND tenant_id = ? AND lane = 0 ORDER BY next_at LIMIT ${present}`,
    [tenant],
  );
}

/** Median of a whole look: picking, taking, loading, deciding, and giving back what waits for its board. */
async function timeClaims(database: Database): Promise<number> {
  const limits = createLimits({ inFlight: 200, inFlightPerTenant: 200, drainPerSecond: 50 });
  const picker = createPicker(limits);
  const safeties = createSafetyCache();
  const times: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const startedAt = performance.now();
    const { boards } = await database.read((manager) =>
      picker.pick(manager, { hinted: [], most: claimed, searches: true }),
    );
    await database
      .transaction(async (manager) => {
        const claim = await claimBoards(manager, boards, {
          owner: randomUUID(),
          leaseSeconds: 20,
          rules: { graceMs: 60_000, maxRuns: 8, conductor: 'bench' },
          safeties,
          onFault: (error) => {
            throw error;
          },
        });
        times.push(performance.now() - startedAt);
        if (claim.taken !== claimed) throw new Error(`${claim.taken} boards were claimed`);
        throw rolledBack;
      })
      .catch((error: unknown) => {
        if (error !== rolledBack) throw error;
      });
  }
  // The first one finds nothing in the caches.
  return median(times.slice(1));
}

const rolledBack = new Error('rolled back');

const fewSchedules = 100;
const manySchedules = 10_000;
const dueSchedules = 10;

export async function measureScheduleTick(context: BenchContext): Promise<Result[]> {
  return withStandstill(context, async (database) => {
    const at = Date.now() + 30 * 86_400_000;
    await addSchedules(context, 0, fewSchedules, at);
    const atFew = await timeTicks(database, at);
    await addSchedules(context, fewSchedules, manySchedules, at);
    const atMany = await timeTicks(database, at);
    await context.database.query("DELETE FROM schedules WHERE name LIKE 'bench-%'");
    return [
      createResult(
        {
          name: 'schedules.tick',
          unit: 'ms',
          value: atMany,
          raw: atFew,
          note: `${dueSchedules} due; raw: of ${fewSchedules} instead of ${manySchedules}`,
        },
        { atMost: 1.5 },
      ),
    ];
  });
}

/** Ten are due at `at`, which is far ahead, the others later still. */
async function addSchedules(context: BenchContext, from: number, to: number, at: number): Promise<void> {
  const tenant = await context.tenantId();
  const now = new Date();
  const timing = JSON.stringify({ kind: 'cron', cron: '0 0 1 1 *', timeZone: 'UTC' });
  const operation = JSON.stringify({ procedure: 'ping', kwargs: {}, target: { selector: 'none' } });
  const rows = Array.from({ length: to - from }, (_, index) => {
    const next = new Date(from + index < dueSchedules ? at : at + 1000 + from + index);
    return [
      randomUUID(),
      tenant,
      `bench-${from + index}`,
      'active',
      timing,
      'skip',
      'last',
      operation,
      next,
      'bench',
      now,
      now,
    ];
  });
  await context.database.query(
    `INSERT INTO schedules (id, tenant_id, name, state, timing, overlap, catch_up, operation, next_at, created_by,
       created_at, updated_at) VALUES ?`,
    [rows],
  );
}

async function timeTicks(database: Database, at: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round <= 200; round += 1) {
    const startedAt = performance.now();
    const due = await database.read((manager) => findDueSchedules(manager, at, 100));
    times.push(performance.now() - startedAt);
    if (due.length !== dueSchedules) throw new Error(`${due.length} schedules were due`);
  }
  return median(times.slice(1));
}
