/** Due times become operations: once, whoever is there, after outages by the rule, and over and over after a kill. */
import { randomUUID } from 'node:crypto';
import type { RowDataPacket } from 'mysql2';
import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { QuotaLimits } from '../../../common/db/quota-limits.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { scheduledOperationId } from '../../../common/wamp/board-schedules.ts';
import type { TaskContext } from '../../../conductor/scheduler.ts';
import { runSchedules } from '../../../conductor/schedules/run-schedules.ts';
import { findDueSchedules } from '../../../conductor/schedules/schedule-queries.ts';
import { until } from '../../harness/until.ts';
import { createContext, openConductorDatabase } from './support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let tenant: string;
let board: string;
let author: string;

beforeAll(async () => {
  db = await openConductorDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  for (const table of ['schedules', 'schedule_runs', 'operations', 'operation_targets'])
    await db.connection.query(`DELETE FROM ${table}`);
  tenant = await db.rows.tenant();
  board = await db.rows.board(tenant, 'gw-1');
  author = await db.rows.author(tenant);
});

const second = 1000;
const minute = 60 * second;
/** On a whole second, as due times are. */
const wholeSecond = () => Math.floor(Date.now() / second) * second;

interface Given {
  timing?: object;
  nextAt?: number;
  overlap?: string;
  catchUp?: string;
  limit?: number;
  jitter?: number;
  offline?: boolean;
  operation?: object;
  state?: string;
  author?: string | null;
}

async function schedule(given: Given = {}): Promise<string> {
  const id = randomUUID();
  const nextAt = given.nextAt ?? wholeSecond();
  const operation = {
    procedure: 'ping',
    kwargs: { a: 1 },
    target: { boards: [board] },
    delivery: 'when-online',
    window: null,
    deadlineSeconds: 3600,
    attempts: 2,
    parallel: false,
    ...given.operation,
  };
  await db.connection.query('INSERT INTO schedules SET ?', [
    {
      id,
      tenant_id: tenant,
      name: id,
      state: given.state ?? 'active',
      timing: JSON.stringify(given.timing ?? { kind: 'interval', everySeconds: 600, from: nextAt }),
      jitter_seconds: given.jitter ?? 0,
      overlap: given.overlap ?? 'skip',
      catch_up: given.catchUp ?? 'last',
      catch_up_limit: given.limit ?? 10,
      offline: given.offline ? 1 : 0,
      operation: JSON.stringify(operation),
      next_at: new Date(nextAt),
      created_by: 'user:test',
      author: given.author === undefined ? author : given.author,
      created_at: new Date(),
      updated_at: new Date(),
    },
  ]);
  return id;
}

const woken: string[] = [];
const run = (context: TaskContext = createContext(db.database), quotas: QuotaLimits = {}) =>
  runSchedules(context, { quotas, onOperations: (ids) => void woken.push(...ids) });

async function rows(sql: string, parameters: unknown[] = []): Promise<RowDataPacket[]> {
  const [found] = await db.connection.query<RowDataPacket[]>(sql, parameters);
  return found;
}
const timeOf = (value: unknown) => (value as Date).getTime();
const runsOf = (id: string) =>
  rows(
    'SELECT due_at, outcome, operation_id, detail FROM schedule_runs WHERE schedule_id = ? ORDER BY due_at',
    [id],
  );
const operationsOf = (id: string) =>
  rows('SELECT * FROM operations WHERE schedule_id = ? ORDER BY due_at', [id]);
const scheduleOf = async (id: string) => (await rows('SELECT * FROM schedules WHERE id = ?', [id]))[0];

describe('a due time', () => {
  it('makes an operation with its target, and the schedule goes on', async () => {
    const nextAt = wholeSecond();
    const id = await schedule({ nextAt });
    expect(await run()).toEqual({ created: 1, complete: true });
    const [operation] = await operationsOf(id);
    expect(operation).toMatchObject({
      id: scheduledOperationId(id, nextAt),
      tenant_id: tenant,
      procedure_name: 'ping',
      delivery: 'when-online',
      state: 'active',
      max_attempts: 2,
      target_count: 1,
      due_at: new Date(nextAt),
      deadline_at: new Date(nextAt + 3600 * second),
      created_by: `schedule:${id}`,
      not_before: null,
    });
    const targets = await rows(
      'SELECT board_uuid, state, queue FROM operation_targets WHERE operation_id = ?',
      [operation?.id],
    );
    expect(targets).toMatchObject([{ board_uuid: board, state: 'queued', queue: 1 }]);
    expect(await runsOf(id)).toMatchObject([
      { due_at: new Date(nextAt), outcome: 'created', operation_id: operation?.id, detail: null },
    ]);
    expect(await scheduleOf(id)).toMatchObject({
      next_at: new Date(nextAt + 10 * minute),
      last_due_at: new Date(nextAt),
      last_error: null,
      state: 'active',
    });
    expect(woken).toContain(operation?.id);
    expect(await run()).toEqual({ complete: true });
  });

  it('is not before its time, and not of a schedule that rests', async () => {
    await schedule({ nextAt: wholeSecond() + minute });
    await schedule({ state: 'paused' });
    expect(await run()).toEqual({ complete: true });
  });

  it('ends a schedule that has no other', async () => {
    const at = wholeSecond();
    const id = await schedule({ timing: { kind: 'once', at }, nextAt: at });
    await run();
    expect(await scheduleOf(id)).toMatchObject({ state: 'ended', next_at: null });
    expect(await operationsOf(id)).toHaveLength(1);
  });

  it('begins so much later as its jitter says, for all of its boards', async () => {
    const nextAt = wholeSecond();
    const id = await schedule({ nextAt, jitter: 600 });
    await run();
    const [operation] = await operationsOf(id);
    const notBefore = timeOf(operation?.not_before);
    expect(notBefore).toBeGreaterThanOrEqual(nextAt);
    expect(notBefore).toBeLessThan(nextAt + 600 * second);
    const [target] = await rows('SELECT not_before FROM operation_targets WHERE operation_id = ?', [
      operation?.id,
    ]);
    expect(timeOf(target?.not_before)).toBe(notBefore);
  });

  it('of a local time fires on the day when the clocks go forward', async () => {
    const spring = Date.UTC(2026, 2, 29, 1, 0);
    const timing = { kind: 'cron', cron: '30 2 * * *', timeZone: 'Europe/Rome' };
    const id = await schedule({ timing, nextAt: spring, catchUp: 'all', limit: 100 });
    // On a busy machine one run has not the time for all of them.
    await until('all are made up for', async () => (await run()).complete, { timeoutMs: 60_000 });
    const dues = (await runsOf(id)).map((each) => (each.due_at as Date).toISOString());
    expect(dues.length).toBeGreaterThan(90);
    expect(dues.at(0)?.endsWith('00:30:00.000Z') || dues.at(0)?.endsWith('01:30:00.000Z')).toBe(true);
    // After 25 October an hour later in UTC.
    expect(
      dues
        .filter((each) => each.endsWith('01:30:00.000Z'))
        .at(0)
        ?.slice(0, 10),
    ).toBe('2026-10-26');
  });

  it.each([2, 3])('is fired once by %i conductors that look at the same moment', async (conductors) => {
    const ids = await Promise.all(
      Array.from({ length: 12 }, () =>
        schedule({
          overlap: 'queue',
          timing: { kind: 'interval', everySeconds: 10, from: 0 },
          nextAt: Math.floor(Date.now() / 10_000) * 10_000 - 40_000,
        }),
      ),
    );
    const results = await Promise.all(Array.from({ length: conductors }, () => run()));
    const created = results.reduce((sum, each) => sum + Number(each.created ?? 0), 0);
    for (const id of ids) {
      const dues = (await runsOf(id)).map((each) => (each.due_at as Date).getTime());
      expect(dues).toHaveLength(5);
      expect((await operationsOf(id)).map((each) => (each.due_at as Date).getTime())).toEqual(dues);
    }
    expect(created).toBe(60);
  });

  it('is fired once although a conductor dies between its statements', async () => {
    const nextAt = wholeSecond();
    const id = await schedule({ nextAt });
    for (const statement of [
      'UPDATE schedules',
      'INSERT IGNORE INTO schedule_runs',
      'INSERT INTO operation_targets',
      'INSERT INTO events',
    ]) {
      const context = createContext(db.database);
      const dying: TaskContext = {
        ...context,
        write: (work, options) =>
          context.write(
            async (manager) => {
              const query = manager.query.bind(manager);
              manager.query = (async (sql: string, parameters?: unknown[]) => {
                const result: unknown = await query(sql, parameters as never);
                if (sql.trimStart().startsWith(statement))
                  throw Object.assign(new Error('killed'), { errno: 1927 });
                return result;
              }) as typeof manager.query;
              return work(manager);
            },
            { ...options, deadlineMs: 0 },
          ),
      };
      await expect(run(dying)).rejects.toThrow();
      expect(await runsOf(id)).toEqual([]);
      expect(await operationsOf(id)).toEqual([]);
    }
    expect(await run()).toMatchObject({ created: 1 });
    expect(await operationsOf(id)).toHaveLength(1);
  });

  it('that was met before makes nothing again', async () => {
    const nextAt = wholeSecond();
    const id = await schedule({ nextAt });
    await db.connection.query('INSERT INTO schedule_runs SET ?', [
      { schedule_id: id, due_at: new Date(nextAt), outcome: 'ran-offline', at: new Date() },
    ]);
    expect(await run()).toEqual({ known: 1, complete: true });
    expect(await operationsOf(id)).toEqual([]);
    expect((await scheduleOf(id))?.next_at).toEqual(new Date(nextAt + 10 * minute));
  });
});

describe('after an outage of three hours', () => {
  const hours = 3 * 60 * minute;
  const outage = (catchUp: string, more: Given = {}) => {
    const nextAt = wholeSecond() - hours - 5 * minute;
    return schedule({ nextAt, catchUp, overlap: 'queue', ...more });
  };

  it('`none` goes on with the next due time', async () => {
    const id = await outage('none');
    expect(await run()).toEqual({ missed: 1, complete: true });
    const [missed] = await runsOf(id);
    expect(missed?.detail).toMatch(/19 due times since/);
    expect((await scheduleOf(id))?.next_at.getTime()).toBeGreaterThan(Date.now());
  });

  it('`last` makes one operation, whose time counts from now', async () => {
    const id = await outage('last', { operation: { deadlineSeconds: 60 } });
    expect(await run()).toEqual({ missed: 1, created: 1, complete: true });
    expect((await runsOf(id)).map((each) => each.outcome)).toEqual(['missed', 'created']);
    const [operation] = await operationsOf(id);
    expect(timeOf(operation?.deadline_at)).toBeGreaterThan(Date.now() + 50 * second);
  });

  it.each(['queue', 'skip'])('`all` makes the newest so many, with overlap %s', async (overlap) => {
    const id = await outage('all', { limit: 4, overlap });
    expect(await run()).toEqual({ missed: 1, created: 4, complete: true });
    const dues = (await operationsOf(id)).map((each) => (each.due_at as Date).getTime());
    expect(dues.map((at, index) => at - (dues[index - 1] ?? at))).toEqual([0, 600_000, 600_000, 600_000]);
  });

  it('goes on where it was when it is killed in the middle', async () => {
    const id = await outage('all', { limit: 6 });
    let writes = 0;
    const dying = createContext(db.database, undefined, () => {
      writes += 1;
      if (writes > 3) throw new AppError('unavailable', 'killed');
    });
    await expect(run(dying)).rejects.toThrow();
    await run(createContext(db.database));
    const outcomes = (await runsOf(id)).map((each) => each.outcome);
    expect(outcomes).toEqual(['missed', ...Array<string>(6).fill('created')]);
    expect(await operationsOf(id)).toHaveLength(6);
  });
});

describe('while the operation of the due time before goes on', () => {
  async function twice(overlap: string) {
    const nextAt = wholeSecond() - 10 * second;
    const id = await schedule({
      overlap,
      timing: { kind: 'interval', everySeconds: 10, from: nextAt },
      nextAt,
    });
    const result = await run();
    return { id, result, runs: await runsOf(id), operations: await operationsOf(id) };
  }

  it('`skip` leaves the due time out and says which operation it was', async () => {
    const { runs, operations } = await twice('skip');
    expect(runs.map((each) => each.outcome)).toEqual(['created', 'skipped']);
    expect(runs[1]).toMatchObject({ operation_id: null });
    expect(runs[1]?.detail).toContain(operations[0]?.id);
    expect(operations).toHaveLength(1);
  });

  it('`queue` makes the next one, which waits for it', async () => {
    const { runs, operations } = await twice('queue');
    expect(runs.map((each) => each.outcome)).toEqual(['created', 'created']);
    expect(operations.map((each) => each.state)).toEqual(['active', 'active']);
  });

  it('`cancel-previous` cancels it first', async () => {
    const { runs, operations } = await twice('cancel-previous');
    expect(runs.map((each) => each.outcome)).toEqual(['created', 'created']);
    expect(operations.map((each) => each.state)).toEqual(['cancelled', 'active']);
    const [target] = await rows('SELECT state FROM operation_targets WHERE operation_id = ?', [
      operations[0]?.id,
    ]);
    expect(target?.state).toBe('cancelled');
  });

  it('`cancel-previous` tells a board that has it already to stop', async () => {
    const nextAt = wholeSecond() - 10 * second;
    const timing = { kind: 'interval', everySeconds: 10, from: nextAt };
    const id = await schedule({ overlap: 'cancel-previous', timing, nextAt: nextAt + 10 * second });
    const previous = scheduledOperationId(id, nextAt);
    await db.connection.query('UPDATE schedules SET next_at = ? WHERE id = ?', [new Date(nextAt), id]);
    const due = [new Date(nextAt + 10 * second), id];
    await db.connection.query(
      'UPDATE schedules SET timing = JSON_SET(timing, "$.everySeconds", 3600) WHERE id = ?',
      [id],
    );
    await run();
    await db.connection.query(
      "UPDATE operation_targets SET state = 'running', attempt = 1 WHERE operation_id = ?",
      [previous],
    );
    await db.connection.query('UPDATE schedules SET next_at = ? WHERE id = ?', due);
    await run();
    const [target] = await rows(
      'SELECT state, cancel_requested FROM operation_targets WHERE operation_id = ?',
      [previous],
    );
    expect(target).toMatchObject({ state: 'running', cancel_requested: 1 });
    expect((await operationsOf(id)).map((each) => each.state)).toEqual(['active', 'active']);
  });
});

describe('a due time that cannot make an operation', () => {
  it.each([
    ['a fleet that is gone', { target: { fleet: randomUUID() } }, /^not-found: /],
    ['a selector that matches nothing', { target: { selector: 'none' } }, /^invalid-arguments: .*no boards/],
    ['boards that are gone', { target: { boards: [randomUUID()] } }, /^board-not-found: /],
  ])('because of %s is on record, and the schedule goes on', async (_what, operation, detail) => {
    const id = await schedule({ operation });
    expect(await run()).toEqual({ failed: 1, complete: true });
    expect((await runsOf(id))[0]).toMatchObject({ outcome: 'failed', operation_id: null });
    expect((await runsOf(id))[0]?.detail).toMatch(detail);
    const row = await scheduleOf(id);
    expect(row?.last_error).toBeTruthy();
    expect(row?.next_at.getTime()).toBeGreaterThan(Date.now());
  });

  it('because of the quota is on record, and uses none of it', async () => {
    const id = await schedule();
    await run(createContext(db.database), { operationsPerDay: 0 });
    expect((await runsOf(id))[0]?.detail).toMatch(/^too-many-requests: /);
    expect(await db.value('SELECT COUNT(*) FROM tenant_usage WHERE tenant_id = ?', [tenant])).toBe(0);
  });

  it('does not take the boards that are left from one that lost some', async () => {
    const id = await schedule({ operation: { target: { boards: [randomUUID(), board] } } });
    expect(await run()).toMatchObject({ created: 1 });
    expect((await operationsOf(id))[0]?.target_count).toBe(1);
  });

  it('because it cannot be read keeps nobody else from theirs', async () => {
    const broken = await schedule({
      timing: { kind: 'cron', cron: 'x', timeZone: 'UTC' },
      nextAt: wholeSecond() - 5 * second,
    });
    const id = await schedule();
    expect(await run()).toMatchObject({ broken: 1, created: 1 });
    expect(await scheduleOf(broken)).toMatchObject({ state: 'paused', next_at: null });
    expect(await operationsOf(id)).toHaveLength(1);
  });
});

describe('a schedule whose author', () => {
  const idOf = (name: string) => name.slice(name.indexOf(':') + 1);
  const sql = async (statement: string, name: string) => {
    await db.connection.query(statement, [idOf(name)]);
    return name;
  };
  const key = async (scope: Parameters<typeof db.rows.key>[1] = {}) =>
    `key:${(await db.rows.key(tenant, scope)).id}`;
  const demoted = "UPDATE memberships SET role = 'user_iot' WHERE user_id = ?";

  it.each<[what: string, make: () => Promise<string | null>, reason: RegExp]>([
    ['may only read any more', () => sql(demoted, author), /the role of its author user:\S+ is user_iot/],
    [
      'has left the tenant',
      () => sql('DELETE FROM memberships WHERE user_id = ?', author),
      /is no member of the tenant any more/,
    ],
    [
      'is of another tenant',
      async () => db.rows.author(await db.rows.tenant(), 'admin_iot_project'),
      /is no member of the tenant any more/,
    ],
    ['was deleted', () => sql('DELETE FROM users WHERE id = ?', author), /is no user any more/],
    [
      'is an admin, and disabled',
      () => sql('UPDATE users SET disabled = 1, is_admin = 1 WHERE id = ?', author),
      /is disabled/,
    ],
    [
      'is a key that was revoked',
      async () => sql('UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = ?', await key()),
      /was revoked/,
    ],
    [
      'is a key that has expired',
      async () => sql('UPDATE api_keys SET expires_at = UTC_TIMESTAMP(3) WHERE id = ?', await key()),
      /has expired/,
    ],
    ['is a key that is gone', async () => `key:${randomUUID()}`, /is no key of the tenant any more/],
    ['is a key that may only read', () => key({ role: 'user_iot' }), /is user_iot/],
    [
      'is a key for other procedures',
      () => key({ procedures: ['hv.*', 'pin'] }),
      /does not include the procedure 'ping'/,
    ],
    ['is a key for other boards', () => key({ boards: [randomUUID()] }), /^board-not-found: /],
    ['is nobody', async () => null, /nobody answers for it/],
    ['is neither user nor key', async () => 'schedule:x', /nobody answers for it/],
    ['is no id', async () => "user:' OR 1", /nobody answers for it/],
  ])('%s makes no operation, and says why', async (_what, make, reason) => {
    const id = await schedule({ author: await make() });
    expect(await run()).toEqual({ failed: 1, complete: true });
    expect(await operationsOf(id)).toEqual([]);
    const [failed] = await runsOf(id);
    expect(failed).toMatchObject({ outcome: 'failed', operation_id: null });
    expect(failed?.detail).toMatch(reason);
    expect(await scheduleOf(id)).toMatchObject({ state: 'active', last_error: expect.any(String) });
  });

  it.each<[what: string, make: () => Promise<string>]>([
    ['is a manager', async () => author],
    ['is the installation’s admin', () => sql('UPDATE users SET is_admin = 1 WHERE id = ?', author)],
    ['is a key', () => key()],
    ['is a key for this procedure on this board', () => key({ procedures: ['pi*'], boards: [board] })],
  ])('%s makes its operation', async (_what, make) => {
    const id = await schedule({ author: await make() });
    expect(await run()).toEqual({ created: 1, complete: true });
    expect(await operationsOf(id)).toHaveLength(1);
  });

  it('loses the right is on record once, cancels nothing, and goes on when somebody else answers for it', async () => {
    const nextAt = wholeSecond();
    const timing = { kind: 'interval', everySeconds: 10, from: nextAt - 100 * second };
    const id = await schedule({ overlap: 'cancel-previous', timing, nextAt });
    expect(await run()).toMatchObject({ created: 1 });
    const goBack = (seconds: number) =>
      db.connection.query('UPDATE schedules SET next_at = ? WHERE id = ?', [
        new Date(nextAt - seconds * second),
        id,
      ]);
    await db.connection.query(
      'UPDATE operations SET due_at = due_at - INTERVAL 90 SECOND WHERE schedule_id = ?',
      [id],
    );
    await sql(demoted, author);
    await goBack(30);
    expect(await run()).toMatchObject({ failed: 3 });
    expect((await operationsOf(id)).map(({ state }) => state)).toEqual(['active']);
    expect(
      await rows("SELECT * FROM audit_events WHERE action = 'run-schedule' AND target = ?", [id]),
    ).toMatchObject([
      {
        tenant_id: tenant,
        actor_kind: 'process',
        actor: 'conductor',
        target_kind: 'schedule',
        result: 'forbidden',
        detail: { author, reason: expect.stringContaining('user_iot') },
      },
    ]);
    const other = await db.rows.author(tenant, 'admin_iot_project');
    await db.connection.query('UPDATE schedules SET author = ?, version = version + 1 WHERE id = ?', [
      other,
      id,
    ]);
    await goBack(40);
    expect(await run()).toMatchObject({ created: 1 });
    expect((await operationsOf(id))[0]?.state).toBe('cancelled');
    expect(await scheduleOf(id)).toMatchObject({ last_error: null });
  });
});

describe('a schedule that its boards run by themselves', () => {
  it('makes nothing here; when it runs once, its end is noted', async () => {
    const at = wholeSecond() - minute;
    const id = await schedule({ offline: true, timing: { kind: 'once', at }, nextAt: wholeSecond() });
    expect(await run()).toEqual({ ended: 1, complete: true });
    expect(await scheduleOf(id)).toMatchObject({ state: 'ended', last_due_at: new Date(at) });
    expect(await runsOf(id)).toEqual([]);
  });
});

describe('among 10,000 schedules', () => {
  it('only those that are due are looked at', async () => {
    const later = new Date(Date.now() + 3600 * second);
    await db.connection.query(
      `INSERT INTO schedules (id, tenant_id, name, state, timing, overlap, catch_up, operation, next_at, created_by,
         created_at, updated_at)
       SELECT UUID(), ?, CONCAT('s-', seq), IF(seq MOD 3 = 0, 'paused', 'active'), '{"kind":"once","at":1}', 'skip',
         'none', '{}', IF(seq MOD 3 = 0, NULL, ?), 'test', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_10000`,
      [tenant, later],
    );
    await db.connection.query('ANALYZE TABLE schedules');
    const ids = await Promise.all(Array.from({ length: 10 }, () => schedule()));
    const [plan] = await rows(
      `EXPLAIN SELECT * FROM schedules WHERE state = 'active' AND next_at <= ? ORDER BY next_at LIMIT 100`,
      [new Date()],
    );
    expect(plan?.key).toBe('ix_schedules_due');
    // The server's estimate; what it really reads is counted below.
    expect(Number(plan?.rows)).toBeLessThan(1000);
    const read = await db.database.read(async (manager) => {
      const before = await rowsRead(manager);
      expect(await findDueSchedules(manager, Date.now(), 100)).toHaveLength(10);
      return (await rowsRead(manager)) - before;
    });
    expect(read).toBeLessThan(100);
    const startedAt = performance.now();
    expect(await run()).toEqual({ created: 10, complete: true });
    expect(performance.now() - startedAt).toBeLessThan(3000);
    for (const id of ids) expect(await operationsOf(id)).toHaveLength(1);
  });

  /** Rows that this connection's statements have gone through. */
  async function rowsRead(manager: EntityManager): Promise<number> {
    const found = (await manager.query("SHOW SESSION STATUS LIKE 'Handler_read%'")) as { Value: string }[];
    return found.reduce((sum, { Value }) => sum + Number(Value), 0);
  }
});
