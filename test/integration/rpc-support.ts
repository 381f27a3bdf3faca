/** The api on a real database, and rows to call it with. Relays are played by tests. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Connection, ResultSetHeader } from 'mysql2/promise';
import type { TenantRole } from '../../common/db/roles.ts';
import { hashToken, randomToken } from '../../common/runtime/secrets.ts';
import { createTestDatabase, type TestDatabase } from '../harness/mariadb.ts';
import { repositoryRoot } from '../harness/tools.ts';

export interface RunningApi {
  url: string;
  /** SIGTERM; gives back the exit code. */
  stop(): Promise<number | null>;
}

export const relayKey = 'relay-key-of-the-tests';

/** A process of its own, as in production. */
export async function startApi(db: TestDatabase): Promise<RunningApi> {
  const child = spawn(process.execPath, ['api/main.ts'], {
    cwd: repositoryRoot,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      ...process.env,
      DATABASE_URL: db.url,
      BOARDWALK_RELAY_KEY: relayKey,
      BOARDWALK_API_PORT: '0',
      BOARDWALK_WAMP_URL: 'ws://127.0.0.1:1/',
    },
  });
  const lines = createInterface(child.stdout);
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the api ended with ${code}`)));
    lines.on('line', (line) => {
      const entry = JSON.parse(line) as { msg: string; port: number };
      if (entry.msg === 'listening') resolve(entry.port);
    });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const [code] = (await exited) as [number | null];
      return code;
    },
  };
}

/** Rows of a tenant with boards and keys, made directly: these tests are not about their making. */
export function createRows(connection: Connection) {
  const insert = (table: string, row: Record<string, unknown>) =>
    connection.query<ResultSetHeader>(`INSERT INTO ${table} SET ?`, [row]);
  const now = new Date();
  const made = { created_at: now, updated_at: now };
  return {
    async tenant(name: string = randomUUID()): Promise<string> {
      const id = randomUUID();
      await insert('tenants', { id, name, slug: id, ...made });
      return id;
    },
    async board(tenantId: string, name: string, columns: Record<string, unknown> = {}): Promise<string> {
      const uuid = randomUUID();
      await insert('boards', { uuid, tenant_id: tenantId, name, ...made, ...columns });
      return uuid;
    },
    async session(boardUuid: string, cell = 'default'): Promise<string> {
      const id = randomUUID();
      const row = { id, board_uuid: boardUuid, live: 1, cell, agent_id: randomUUID(), wamp_session: 1 };
      await insert('board_sessions', { ...row, boot_id: 'b', agent_version: '1', started_at: now });
      await connection.query("UPDATE boards SET status = 'online' WHERE uuid = ?", [boardUuid]);
      return id;
    },
    async key(
      tenantId: string,
      scope: { role?: TenantRole; boards?: string[]; procedures?: string[] } = {},
    ): Promise<{ id: string; token: string }> {
      const id = randomUUID();
      const token = `bw_${id.replaceAll('-', '')}_${randomToken()}`;
      await insert('api_keys', {
        id,
        tenant_id: tenantId,
        name: id,
        secret_hash: hashToken(token),
        role: scope.role ?? 'manager_iot_project',
        boards: scope.boards ? JSON.stringify(scope.boards) : null,
        procedures: scope.procedures ? JSON.stringify(scope.procedures) : null,
        created_by: 'test',
        created_at: now,
      });
      return { id, token };
    },
    /** A user with a role in the tenant; answers as `created_by` has it. */
    async author(tenantId: string, role: TenantRole = 'manager_iot_project'): Promise<`user:${string}`> {
      const id = randomUUID();
      await insert('users', { id, username: id, password_hash: '', ...made });
      await insert('memberships', { tenant_id: tenantId, user_id: id, role, created_at: now });
      return `user:${id}`;
    },
    async agent(relayUrl: string, cell = 'default'): Promise<string> {
      const id = randomUUID();
      await connection.query(
        `INSERT INTO wamp_agents (id, cell, relay_url, router_connected, started_at, heartbeat_at)
         VALUES (?, ?, ?, 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 HOUR)`,
        [id, cell, relayUrl],
      );
      return id;
    },
    event: (tenantId: string, boardUuid: string, payload: object, type = 'presence') =>
      insert('events', {
        tenant_id: tenantId,
        board_uuid: boardUuid,
        type,
        payload: JSON.stringify(payload),
      }),
  };
}

export async function openTestDatabase(): Promise<{
  db: TestDatabase;
  connection: Connection;
  close(): Promise<void>;
}> {
  const db = await createTestDatabase();
  const connection = await db.connect();
  return {
    db,
    connection,
    async close() {
      await connection.end();
      await db.drop();
    },
  };
}
