import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chunkRows } from '../../../conductor/tasks/chunks.ts';
import { clearExpired } from '../../../conductor/tasks/cleanup.ts';
import { createContext, openConductorDatabase } from './support.ts';

const rules = { retentionDays: 400, auditDays: 400, alarmDays: 90 };
let db: Awaited<ReturnType<typeof openConductorDatabase>>;

beforeAll(async () => {
  db = await openConductorDatabase();
});
afterAll(() => db.close());

const ago = (days: number) => new Date(Date.now() - days * 86_400_000);
const hash = () => randomUUID().replaceAll('-', '').padEnd(64, '0');

describe('cleaning up', () => {
  it('clears what served its time and keeps the rest', async () => {
    const tenant = await db.rows.tenant();
    const board = await db.rows.board(tenant, 'b');
    const insert = (table: string, row: Record<string, unknown>) =>
      db.connection.query(`INSERT INTO ${table} SET ?`, [row]);
    const user = randomUUID();
    const made = { created_at: ago(500), updated_at: ago(500) };
    await insert('users', { id: user, username: 'u', password_hash: 'x', ...made });
    for (const days of [-1, 1])
      await insert('user_sessions', {
        token_hash: hash(),
        user_id: user,
        created_at: ago(9),
        expires_at: ago(days),
      });
    const code = { board_uuid: board, created_by: 'u', created_at: ago(200) };
    for (const [expires, used] of [
      [-1, null],
      [1, null],
      [8, null],
      [8, ago(8)],
      [91, ago(92)],
    ] as const)
      await insert('enrolment_codes', {
        ...code,
        code_hash: hash(),
        expires_at: ago(expires),
        used_at: used,
      });
    const key = { tenant_id: tenant, role: 'user_iot', created_by: 'u', created_at: ago(100) };
    for (const [expires, revoked] of [
      [null, null],
      [ago(10), null],
      [ago(31), null],
      [null, ago(31)],
    ])
      await insert('api_keys', {
        ...key,
        id: randomUUID(),
        name: hash(),
        secret_hash: hash(),
        expires_at: expires,
        revoked_at: revoked,
      });
    for (const days of [-1, 0.01])
      await insert('idempotency_keys', {
        ...{
          principal: 'u',
          key_hash: hash(),
          operation_id: 'x',
          request_hash: hash(),
          status: 201,
          answer: '',
        },
        ...{ created_at: ago(2), expires_at: ago(days) },
      });
    for (const hours of [23, 25]) {
      await insert('events', {
        tenant_id: tenant,
        type: 'presence',
        payload: '{}',
        created_at: ago(hours / 24),
      });
    }
    const run = { task: 't', conductor_id: 'c', outcome: 'done' };
    for (const days of [6, 8])
      await insert('task_runs', { ...run, slot_at: ago(days), started_at: ago(days) });
    for (const days of [399, 401])
      await insert('audit_events', {
        at: ago(days),
        actor_kind: 'user',
        actor: 'u',
        action: 'x',
        result: 'ok',
      });
    const session = {
      board_uuid: board,
      cell: 'c',
      agent_id: 'a',
      wamp_session: 1,
      boot_id: 'b',
      agent_version: '1',
    };
    for (const [days, live] of [
      [89, null],
      [91, null],
      [null, 1],
    ] as const)
      await insert('board_sessions', {
        ...session,
        id: randomUUID(),
        live,
        started_at: ago(200),
        ended_at: days && ago(days),
      });

    for (const [days, open] of [
      [89, null],
      [91, null],
      [null, 1],
    ] as const)
      await insert('alarms', {
        ...{ id: randomUUID(), tenant_id: tenant, rule_id: randomUUID(), rule_name: 'r', revision: 1 },
        ...{ severity: 'info', board_uuid: board, board_name: 'b', stream_id: 1, since: 1, evidence: '{}' },
        ...{ state: open ? 'raised' : 'cleared', open, raised_at: ago(200), cleared_at: days && ago(days) },
      });

    const { cleared, complete } = await clearExpired(createContext(db.database), rules);
    expect(complete).toBe(true);
    expect(cleared).toEqual({
      ...{ user_sessions: 1, enrolment_codes: 2, api_keys: 2, idempotency_keys: 1 },
      ...{ events: 1, task_runs: 1, audit_events: 1, board_sessions: 1, alarms: 1 },
    });
    expect((await clearExpired(createContext(db.database), rules)).cleared).toEqual({});
  });

  it('deletes many rows in transactions of a bounded size', async () => {
    await db.connection.query(
      `INSERT INTO events (tenant_id, type, payload, created_at)
       SELECT 't', 'presence', '{}', UTC_TIMESTAMP(3) - INTERVAL 2 DAY FROM seq_1_to_12000`,
    );
    let writes = 0;
    const context = createContext(db.database, undefined, () => {
      writes += 1;
    });
    const before = writes;
    expect((await clearExpired(context, rules)).cleared).toEqual({ events: 12_000 });
    expect(writes - before).toBeGreaterThanOrEqual(Math.ceil(12_000 / chunkRows));
  });

  it('closes runs that a dead conductor left open', async () => {
    await db.connection.query(
      `INSERT INTO task_runs (task, slot_at, conductor_id, started_at)
       VALUES ('t', UTC_TIMESTAMP(3) - INTERVAL 1 HOUR, 'dead', UTC_TIMESTAMP(3) - INTERVAL 1 HOUR),
              ('t', UTC_TIMESTAMP(3), 'busy', UTC_TIMESTAMP(3))`,
    );
    expect(await clearExpired(createContext(db.database), rules)).toMatchObject({ lostRuns: 1 });
    const outcome = "SELECT COALESCE(outcome, 'open') FROM task_runs WHERE conductor_id = ?";
    expect(await db.value(outcome, ['dead'])).toBe('lost');
    expect(await db.value(outcome, ['busy'])).toBe('open');
  });
});
