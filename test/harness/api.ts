/** The api in this process, on a real database and real HTTP; and the rows that its tests begin with. */
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Connection, ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import { createApp } from '../../api/app.ts';
import { hashPassword } from '../../api/auth/passwords.ts';
import { type ApiConfig, loadApiConfig } from '../../api/config.ts';
import { createApiMetrics } from '../../api/http/metrics.ts';
import { createApiServer } from '../../api/http/server.ts';
import { createDatabase } from '../../common/db/database.ts';
import type { TenantRole } from '../../common/db/roles.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { hashToken, randomToken } from '../../common/runtime/secrets.ts';
import { createTestDatabase } from './mariadb.ts';

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests, which fail on a wrong shape
  body: any;
}

export interface RequestOptions {
  method?: string;
  token?: string;
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  raw?: string | Uint8Array<ArrayBuffer>;
  headers?: Record<string, string>;
}

export interface TestApi {
  url: string;
  databaseUrl: string;
  connection: Connection;
  rows: ReturnType<typeof createApiRows>;
  /** Log lines so far, as JSON text. */
  log: string[];
  request(path: string, options?: RequestOptions): Promise<Answer>;
  /** One sum per table; equal sums = nothing changed. */
  checksums(except?: readonly string[]): Promise<Record<string, string>>;
  stop(): Promise<void>;
}

export async function startTestApi(overrides: Partial<ApiConfig> = {}): Promise<TestApi> {
  const db = await createTestDatabase();
  const connection = await db.connect();
  const log: string[] = [];
  const logger = memoryLogger(log);
  const database = createDatabase({ url: db.url, logger, poolSize: 8 });
  const stopping = new AbortController();
  const stops: (() => Promise<void> | void)[] = [];
  const app = await createApp({
    config: {
      ...loadApiConfig({
        DATABASE_URL: db.url,
        BOARDWALK_RELAY_KEY: 'relay-key',
        BOARDWALK_WAMP_URL: 'ws://w/',
      }),
      ...overrides,
    },
    database,
    logger,
    metrics: createApiMetrics(),
    stopping: stopping.signal,
    onStop: (_name, stop) => void stops.push(stop),
  });
  const server = createApiServer(app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    databaseUrl: db.url,
    connection,
    rows: createApiRows(connection),
    log,
    request: (path, options = {}) => send(url + path, options),
    checksums: (except = []) => tableChecksums(connection, except),
    async stop() {
      stopping.abort();
      server.close();
      server.closeAllConnections();
      for (const stop of stops.reverse()) await stop();
      await database.close();
      await connection.end();
      await db.drop();
    },
  };
}

async function send(url: string, options: RequestOptions): Promise<Answer> {
  const { method, token, body, raw, headers = {} } = options;
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(url, {
    method: method ?? (payload === undefined ? 'GET' : 'POST'),
    redirect: 'manual',
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(payload !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(payload !== undefined && { body: payload }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson && text !== '' ? JSON.parse(text) : undefined,
  };
}

function memoryLogger(lines: string[], bound: object = {}): Logger {
  const write = (level: string) => (fields: object, message: string) => {
    const { err, ...rest } = fields as { err?: unknown };
    const error = err === undefined ? {} : { err: String((err as Error).stack ?? err) };
    lines.push(JSON.stringify({ level, ...bound, ...rest, ...error, message }));
  };
  return {
    error: write('error'),
    warn: write('warn'),
    info: write('info'),
    debug: write('debug'),
    child: (fields) => memoryLogger(lines, { ...bound, ...fields }),
  };
}

async function tableChecksums(
  connection: Connection,
  except: readonly string[],
): Promise<Record<string, string>> {
  const [tables] = await connection.query<RowDataPacket[]>('SHOW TABLES');
  const names = tables.map((row) => String(Object.values(row)[0])).filter((name) => !except.includes(name));
  const sums: Record<string, string> = {};
  for (const name of names) {
    const [rows] = await connection.query<RowDataPacket[]>(`SELECT * FROM \`${name}\``);
    const texts = rows.map((row) => JSON.stringify(row)).sort();
    sums[name] = createHash('sha256').update(texts.join('\n')).digest('hex');
  }
  return sums;
}

export const testPassword = 'a-password-of-tests';
/** Derived once: it is meant to be slow. */
let passwordHash: Promise<string> | undefined;

export interface NewUser {
  username?: string;
  isAdmin?: boolean;
  memberships?: Record<string, TenantRole>;
}

export function createApiRows(connection: Connection) {
  const insert = (table: string, row: Record<string, unknown>) =>
    connection.query<ResultSetHeader>('INSERT INTO ?? SET ?', [table, row]);
  const made = () => ({ created_at: new Date(), updated_at: new Date() });

  async function session(userId: string, expiresInMs = 3_600_000): Promise<string> {
    const token = `bws_${randomToken()}`;
    await insert('user_sessions', {
      token_hash: hashToken(token),
      user_id: userId,
      created_at: new Date(),
      expires_at: new Date(Date.now() + expiresInMs),
    });
    return token;
  }

  return {
    session,
    async tenant(name: string = randomUUID().slice(0, 8)): Promise<string> {
      const id = randomUUID();
      await insert('tenants', { id, name, slug: `s-${id.slice(0, 13)}`, ...made() });
      return id;
    },
    async user(options: NewUser = {}): Promise<{ id: string; username: string; token: string }> {
      const { username = `user-${randomToken(5)}`, isAdmin = false, memberships = {} } = options;
      passwordHash ??= hashPassword(testPassword);
      const id = randomUUID();
      await insert('users', {
        id,
        username,
        password_hash: await passwordHash,
        is_admin: isAdmin ? 1 : 0,
        ...made(),
      });
      for (const [tenantId, role] of Object.entries(memberships))
        await insert('memberships', { tenant_id: tenantId, user_id: id, role, created_at: new Date() });
      return { id, username, token: await session(id) };
    },
    async key(
      tenantId: string,
      options: {
        role?: TenantRole;
        boards?: string[];
        procedures?: string[];
        expiresAt?: Date;
        revokedAt?: Date;
      } = {},
    ): Promise<{ id: string; token: string }> {
      const id = randomUUID();
      const token = `bw_${id.replaceAll('-', '')}_${randomToken()}`;
      await insert('api_keys', {
        id,
        tenant_id: tenantId,
        name: `key-${id.slice(0, 8)}`,
        secret_hash: hashToken(token),
        role: options.role ?? 'admin_iot_project',
        boards: options.boards ? JSON.stringify(options.boards) : null,
        procedures: options.procedures ? JSON.stringify(options.procedures) : null,
        created_by: 'test',
        created_at: new Date(),
        expires_at: options.expiresAt ?? null,
        revoked_at: options.revokedAt ?? null,
      });
      return { id, token };
    },
    async board(
      tenantId: string,
      columns: Record<string, unknown> = {},
      labels: Record<string, string> = {},
    ): Promise<string> {
      const uuid = randomUUID();
      await insert('boards', {
        uuid,
        tenant_id: tenantId,
        name: `board-${uuid.slice(0, 8)}`,
        ...made(),
        ...columns,
      });
      for (const [key, value] of Object.entries(labels))
        await insert('board_labels', {
          board_uuid: uuid,
          tenant_id: tenantId,
          label_key: key,
          label_value: value,
        });
      return uuid;
    },
    insert,
  };
}
