/**
 * Thousands of operation targets in flight while conductors, wamp-agents, the router, the database and
 * processes full of boards are killed at random, by a plan that a seed determines. Looked at in the
 * end: the rows, and what the boards really executed by their own count.
 *
 * `BOARDWALK_FAULT_SEED` repeats a plan; `BOARDWALK_FAULT_SECONDS` makes it longer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient } from '../../bin/stack/api-client.ts';
import { createFaultPlan, type FaultStep } from '../harness/fault-plan.ts';
import {
  type BoardsProcess,
  createBoardsProcess,
  type ManyBoard,
  makeBoards,
  readExecutions,
} from '../harness/many-boards/boards.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf } from '../harness/test-board.ts';
import { until } from '../harness/until.ts';

const seed = Number(process.env.BOARDWALK_FAULT_SEED ?? Math.floor(Math.random() * 1_000_000));
const chaosMs = Number(process.env.BOARDWALK_FAULT_SECONDS ?? 75) * 1000;
const boardCount = 200;
const processCount = 4;
const operationCount = 25;
const scheduleEverySeconds = 3;

const plan = createFaultPlan({
  seed,
  durationMs: chaosMs,
  everyMs: 3000,
  processes: [
    'conductor',
    'conductor-2',
    'wamp-agent',
    'wamp-agent-2',
    'wamp-agent-3',
    'crossbar',
    'mariadb',
  ],
  boardProcesses: processCount,
  boards: boardCount,
  awayShare: 0.2,
});

let stack: TestStack;
let api: ApiClient;
let boards: ManyBoard[];
let hosts: BoardsProcess[];
/** operation id → procedure */
const operations = new Map<string, string>();
let scheduleId: string;

beforeAll(async () => {
  console.log(`seed ${seed}: ${plan.length} faults in ${chaosMs / 1000} s`);
  stack = await startStack({ agents: 3, conductors: 2 });
  api = clientOf(stack);
  await withDatabase(async (connection) => {
    const tenant = await tenantId(connection);
    boards = await makeBoards(stack, connection, tenant, boardCount, (index) => ({
      rig: 'many',
      group: String(index % 10),
    }));
  });
  const share = boardCount / processCount;
  hosts = Array.from({ length: processCount }, (_, index) =>
    createBoardsProcess(boards.slice(index * share, (index + 1) * share)),
  );
  await Promise.all(hosts.map((each) => each.start()));
  await until('all boards are online', async () => (await countOnline()) === boardCount, {
    timeoutMs: 90_000,
  });
}, 240_000);

afterAll(async () => {
  await Promise.all((hosts ?? []).map((each) => each.stop()));
  await stack?.stop();
}, 120_000);

async function tenantId(connection: Connection): Promise<string> {
  const [[row]] = await connection.query<RowDataPacket[]>(
    "SELECT id FROM tenants WHERE name = 'demo' LIMIT 1",
  );
  return String(row?.id);
}

async function withDatabase<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({ uri: stack.databaseUrl, timezone: 'Z' });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

const rows = (sql: string, parameters: unknown[] = []) =>
  withDatabase(async (connection) => (await connection.query<RowDataPacket[]>(sql, parameters))[0]);

async function countOnline(): Promise<number> {
  const [row] = await rows("SELECT COUNT(*) AS n FROM boards WHERE status = 'online' AND name LIKE 'many-%'");
  return Number(row?.n);
}

/** Three of five are never to run twice, the others may; some take a while. */
async function createOperations(): Promise<void> {
  for (let index = 0; index < operationCount; index += 1) {
    const procedure = index % 5 < 3 ? 'rig.step' : 'echo';
    const kwargs = procedure === 'rig.step' ? { label: `o${index}`, seconds: index % 3 } : { message: index };
    const operation = await api.request('POST', '/v1/operations', {
      procedure,
      kwargs,
      target: { selector: 'rig=many' },
      delivery: 'when-online',
      deadline: new Date(Date.now() + 3_600_000).toISOString(),
      attempts: 3,
    });
    operations.set(String(operation.id), procedure);
  }
}

async function createSchedule(): Promise<void> {
  const schedule = await api.request('POST', '/v1/schedules', {
    name: 'tick',
    timing: { everySeconds: scheduleEverySeconds },
    overlap: 'queue',
    catchUp: 'all',
    catchUpLimit: 100,
    operation: {
      procedure: 'rig.step',
      kwargs: { label: 'tick' },
      target: { selector: 'rig=many,group=3' },
      deadlineSeconds: 3600,
    },
  });
  scheduleId = String(schedule.id);
}

async function runPlan(): Promise<void> {
  const startedAt = performance.now();
  for (const step of plan) {
    await sleep(Math.max(0, step.at - (performance.now() - startedAt)));
    await commit(step);
  }
}

let away = new Set<number>();

async function commit(step: FaultStep): Promise<void> {
  if (step.kind === 'kill') {
    // Between two lives there is nothing to kill.
    if (stack.processes().some(({ name }) => name === step.victim)) stack.kill(step.victim);
    return;
  }
  if (step.kind === 'kill-boards') {
    const host = hosts[Number(step.victim)] as BoardsProcess;
    await host.kill();
    await host.start();
    return;
  }
  const next = new Set(step.boards);
  const share = boardCount / processCount;
  await Promise.all(
    hosts.map(async (host, number) => {
      const own = (index: number) => Math.floor(index / share) === number;
      const board = (index: number) => boards[index] as ManyBoard;
      await host.hold([...next].filter((index) => own(index) && !away.has(index)).map(board));
      await host.release([...away].filter((index) => own(index) && !next.has(index)).map(board));
    }),
  );
  away = next;
}

interface Target {
  operationId: string;
  boardUuid: string;
  state: string;
  attempt: number;
}

const ended = ['succeeded', 'failed', 'expired', 'cancelled', 'unknown'];

async function openTargets(): Promise<number> {
  const [row] = await rows('SELECT COUNT(*) AS n FROM operation_targets WHERE state NOT IN (?)', [ended]);
  return Number(row?.n);
}

describe('operations while everything dies', () => {
  it('all end, with nothing lost, nothing run twice, and nothing stuck', async () => {
    await createOperations();
    await createSchedule();
    await runPlan();
    await commit({ at: 0, kind: 'hold-boards', victim: 'boards', boards: [] });
    await until('the api answers', () => api.request('POST', `/v1/schedules/${scheduleId}/pause`, {}), {
      timeoutMs: 60_000,
    });
    await until('every board is back', async () => (await countOnline()) === boardCount, {
      timeoutMs: 120_000,
    });
    await until('every target has ended', async () => (await openTargets()) === 0, {
      timeoutMs: 300_000,
      everyMs: 1000,
    });
    const targets = (await rows(
      'SELECT operation_id AS operationId, board_uuid AS boardUuid, state, attempt FROM operation_targets',
    )) as unknown as Target[];

    // Zero lost: every board of every operation has its target.
    for (const id of operations.keys())
      expect(targets.filter(({ operationId }) => operationId === id).length).toBe(boardCount);
    const counts = Object.groupBy(targets, ({ state }) => state);
    console.log(
      `seed ${seed}: ${Object.entries(counts)
        .map(([state, list]) => `${list?.length} ${state}`)
        .join(', ')}`,
    );
    requireOnce(targets);
    await requireOperationsEnded();
    await requireNothingStuck();
    await requireScheduleOnce();
  }, 900_000);
});

/** By the boards' own count: a journaled attempt ran at most once, and once where it succeeded. */
function requireOnce(targets: readonly Target[]): void {
  const executions = new Map<string, number>();
  for (const board of boards)
    for (const { operationId, attempt } of readExecutions(board)) {
      const key = `${board.uuid} ${operationId} ${attempt}`;
      executions.set(key, (executions.get(key) ?? 0) + 1);
    }
  expect([...executions].filter(([, count]) => count > 1)).toEqual([]);
  const journaled = targets.filter(({ operationId }) => operations.get(operationId) !== 'echo');
  const notRun = journaled.filter(
    ({ state, boardUuid, operationId, attempt }) =>
      state === 'succeeded' && executions.get(`${boardUuid} ${operationId} ${attempt}`) !== 1,
  );
  expect(notRun).toEqual([]);
  // Most of them are not to end in doubt: a kill hits what runs at that moment only.
  const known = journaled.filter(({ state }) => state === 'succeeded').length;
  expect(known).toBeGreaterThan(journaled.length * 0.8);
  // What may run twice has no reason to be in doubt at all.
  const echo = targets.filter(({ operationId }) => operations.get(operationId) === 'echo');
  expect(echo.filter(({ state }) => state !== 'succeeded')).toEqual([]);
}

async function requireOperationsEnded(): Promise<void> {
  await until(
    'every operation has ended',
    async () => {
      const [row] = await rows("SELECT COUNT(*) AS n FROM operations WHERE state IN ('preparing', 'active')");
      return Number(row?.n) === 0;
    },
    { timeoutMs: 60_000 },
  );
}

async function requireNothingStuck(): Promise<void> {
  await until(
    'no queue is held beyond its lease, and none waits with work',
    async () => {
      const [row] = await rows(
        'SELECT COUNT(*) AS n FROM board_queues WHERE owner IS NOT NULL OR (has_open = 1 AND ready = 1)',
      );
      return Number(row?.n) === 0;
    },
    { timeoutMs: 60_000 },
  );
}

/** Every due time from the first to the last, each once, each with one operation. */
async function requireScheduleOnce(): Promise<void> {
  const runs = await rows(
    'SELECT due_at AS dueAt, operation_id AS operationId, outcome FROM schedule_runs WHERE schedule_id = ? ORDER BY due_at',
    [scheduleId],
  );
  const made = await rows(
    'SELECT id, due_at AS dueAt FROM operations WHERE schedule_id = ? ORDER BY due_at',
    [scheduleId],
  );
  const times = runs.map(({ dueAt }) => (dueAt as Date).getTime());
  expect(times.length).toBeGreaterThan(chaosMs / 1000 / scheduleEverySeconds / 2);
  const steps = times.slice(1).map((time, index) => time - (times[index] as number));
  expect(new Set(steps)).toEqual(new Set([scheduleEverySeconds * 1000]));
  expect(runs.filter(({ outcome }) => outcome !== 'created')).toEqual([]);
  expect(made.map(({ dueAt }) => (dueAt as Date).getTime())).toEqual(times);
  expect(new Set(made.map(({ id }) => String(id)))).toEqual(
    new Set(runs.map(({ operationId }) => String(operationId))),
  );
}
