import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endLapsedSessions } from '../../../conductor/tasks/heartbeats.ts';
import { checkLiveness } from '../../../conductor/tasks/liveness.ts';
import { createContext, openConductorDatabase } from './support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let tenant: string;

beforeEach(async () => {
  db = await openConductorDatabase();
  tenant = await db.rows.tenant();
});
afterEach(() => db.close());

/** As if runs had followed one another for so long. */
async function watchFor(seconds: number): Promise<void> {
  await db.connection.query("DELETE FROM task_runs WHERE task = 'liveness'");
  await db.connection.query(
    `INSERT INTO task_runs (task, slot_at, conductor_id, started_at, ended_at, outcome, detail)
     VALUES ('liveness', UTC_TIMESTAMP(3), 'c', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 'done',
             JSON_OBJECT('watchingSince', ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000) - ?))`,
    [seconds * 1000],
  );
}

async function addAgent(silentSeconds: number, columns: Record<string, unknown> = {}): Promise<string> {
  const id = randomUUID();
  await db.connection.query(
    `INSERT INTO wamp_agents SET started_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR,
       heartbeat_at = UTC_TIMESTAMP(3) - INTERVAL ? SECOND, ?`,
    [
      silentSeconds,
      { id, cell: 'default', relay_url: 'http://127.0.0.1:1', router_connected: 1, ...columns },
    ],
  );
  return id;
}

const statusOf = (board: string) => db.value('SELECT status FROM boards WHERE uuid = ?', [board]);
const run = () => checkLiveness(createContext(db.database));

describe('liveness', () => {
  it('marks wamp-agents and conductors that have been silent for 8 s, and no others', async () => {
    await watchFor(60);
    const [dead, alive] = [await addAgent(9), await addAgent(6)];
    await db.connection.query(
      `INSERT INTO conductors (id, url, started_at, heartbeat_at)
       VALUES ('dead', '', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) - INTERVAL 9 SECOND), ('alive', '', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    );
    expect(await run()).toMatchObject({ agents: 1, conductors: 1, sessions: 0 });
    const reason = (table: string, id: string) =>
      db.value(`SELECT IF(stopped_at IS NULL, NULL, stop_reason) FROM ${table} WHERE id = ?`, [id]);
    expect(await reason('wamp_agents', dead)).toBe('heartbeat-lapsed');
    expect(await reason('wamp_agents', alive)).toBeNull();
    expect(await reason('conductors', 'dead')).toBe('heartbeat-lapsed');
    expect(await reason('conductors', 'alive')).toBeNull();
  });

  it('judges nobody by a silence in which no conductor listened', async () => {
    await addAgent(300);
    const board = await db.rows.board(tenant, 'b1');
    await db.rows.session(board);
    expect(await run()).toMatchObject({ agents: 0, sessions: 0 });
    await watchFor(7);
    expect(await run()).toMatchObject({ agents: 0, sessions: 0 });
    expect(await statusOf(board)).toBe('online');
  });

  it('ends the sessions of a cell that no agent has reached for 10 s, with event and reason', async () => {
    await watchFor(60);
    await addAgent(11);
    await addAgent(0, { cell: 'other' });
    const boards = await Promise.all([1, 2, 3].map((n) => db.rows.board(tenant, `b${n}`)));
    for (const [index, board] of boards.entries())
      await db.rows.session(board, index === 2 ? 'other' : 'default');
    expect(await run()).toMatchObject({ agents: 1, sessions: 2 });
    expect(await Promise.all(boards.map(statusOf))).toEqual(['offline', 'offline', 'online']);
    const reasons = 'SELECT GROUP_CONCAT(DISTINCT end_reason) FROM board_sessions WHERE live IS NULL';
    expect(await db.value(reasons)).toBe('router-unreachable');
    expect(await db.value("SELECT COUNT(*) FROM events WHERE type = 'presence'")).toBe(2);
    expect(await run()).toMatchObject({ sessions: 0 });
  });

  it('leaves them while an agent restarts, also when the router was lost a moment ago', async () => {
    await watchFor(60);
    const agent = await addAgent(0, { router_connected: 0 });
    const board = await db.rows.board(tenant, 'b1');
    await db.rows.session(board);
    expect(await run()).toMatchObject({ sessions: 0 });
    const lostAt = "SELECT lost_at FROM routers WHERE cell = 'default'";
    expect(await db.value(lostAt)).not.toBeNull();
    await db.connection.query('UPDATE wamp_agents SET router_connected = 1 WHERE id = ?', [agent]);
    expect(await run()).toMatchObject({ sessions: 0 });
    expect(await db.value(lostAt)).toBeNull();
    expect(await statusOf(board)).toBe('online');
  });
});

describe('heartbeats of boards', () => {
  async function addBoard(name: string, silentSeconds: number): Promise<string> {
    const board = await db.rows.board(tenant, name);
    const session = await db.rows.session(board);
    await db.connection.query(
      'UPDATE board_sessions SET started_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR WHERE id = ?',
      [session],
    );
    await db.connection.query(
      'UPDATE boards SET last_heartbeat_at = UTC_TIMESTAMP(3) - INTERVAL ? SECOND WHERE uuid = ?',
      [silentSeconds, board],
    );
    return board;
  }
  const connectFor = (seconds: number) =>
    db.connection.query(
      `REPLACE INTO routers (cell, connected_at, lost_at, created_at)
       VALUES ('default', UTC_TIMESTAMP(3) - INTERVAL ? SECOND, NULL, UTC_TIMESTAMP(3))`,
      [seconds],
    );
  beforeEach(() => watchFor(3600));
  const runHeartbeats = () => endLapsedSessions(createContext(db.database));

  it('end the session after three missed ones and some grace', async () => {
    await connectFor(3600);
    const [silentBoard, late] = [await addBoard('silent', 45), await addBoard('late', 35)];
    expect(await runHeartbeats()).toEqual({ sessions: 1 });
    expect(await statusOf(silentBoard)).toBe('offline');
    expect(await statusOf(late)).toBe('online');
    expect(await db.value('SELECT end_reason FROM board_sessions WHERE live IS NULL')).toBe(
      'heartbeat-lapsed',
    );
  });

  it('are judged by the interval that the board was told', async () => {
    await connectFor(3600);
    const board = await addBoard('b', 200);
    await db.connection.query('UPDATE board_sessions SET heartbeat_interval_ms = 100000');
    expect(await runHeartbeats()).toEqual({ sessions: 0 });
    await db.connection.query('UPDATE board_sessions SET heartbeat_interval_ms = 60000');
    expect(await runHeartbeats()).toEqual({ sessions: 1 });
    expect(await statusOf(board)).toBe('offline');
  });

  it('do not count while the database was away, nor when its clock was ahead for a while', async () => {
    await connectFor(3600);
    const board = await addBoard('b', 120);
    await db.connection.query(
      `UPDATE task_runs SET slot_at = slot_at - INTERVAL 90 SECOND, ended_at = ended_at - INTERVAL 90 SECOND`,
    );
    expect(await runHeartbeats()).toEqual({ sessions: 0 });
    await watchFor(20);
    expect(await runHeartbeats()).toEqual({ sessions: 0 });
    expect(await statusOf(board)).toBe('online');
    await watchFor(50);
    await db.connection.query(
      `INSERT INTO task_runs (task, slot_at, conductor_id, started_at, ended_at, outcome, detail)
       VALUES ('liveness', UTC_TIMESTAMP(3) + INTERVAL 1 DAY, 'c', UTC_TIMESTAMP(3) + INTERVAL 1 DAY,
               UTC_TIMESTAMP(3) + INTERVAL 1 DAY, 'done',
               JSON_OBJECT('watchingSince', ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000) + 86400000))`,
    );
    expect(await runHeartbeats()).toEqual({ sessions: 1 });
  });

  it('do not count while nobody was there to hear them', async () => {
    const board = await addBoard('b', 300);
    expect(await runHeartbeats()).toEqual({ sessions: 0 });
    await connectFor(20);
    expect(await runHeartbeats()).toEqual({ sessions: 0 });
    expect(await statusOf(board)).toBe('online');
  });
});
