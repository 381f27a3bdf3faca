/** A router, a database and wamp-agents as their own processes, with rows to play with. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { generateKeyPair, type KeyPair } from '../../../board-agent/session/cryptosign.ts';
import { hashEnrolmentCode } from '../../../common/runtime/enrolment-code.ts';
import { hashToken, randomToken } from '../../../common/runtime/secrets.ts';
import type { HelloRequest } from '../../../common/wamp/agent-procedures.ts';
import { agentUris, boardPrefix } from '../../../common/wamp/uris.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { createTestDatabase, type TestDatabase } from '../../harness/mariadb.ts';
import { until } from '../../harness/until.ts';
import { type JoinOptions, join, type RawCall, type RawSession } from './raw-wamp.ts';

export interface RunningAgent {
  id: string;
  relayUrl: string;
  child: ChildProcess;
  log(): string;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export interface SeededBoard extends KeyPair {
  uuid: string;
  name: string;
  tenantId: string;
}

export interface Fixture {
  router: TestCrossbar;
  database: TestDatabase;
  sql: Connection;
  relayKey: string;
  /** Shared by its agents. */
  artifactDir: string;
  agents: RunningAgent[];
  startAgent(env?: Record<string, string>): Promise<RunningAgent>;
  rows(sql: string, parameters?: unknown[]): Promise<RowDataPacket[]>;
  stop(): Promise<void>;
}

const program = joinPath(import.meta.dirname, '../../../wamp-agent/main.ts');

export async function startFixture(agents = 1, env: Record<string, string> = {}): Promise<Fixture> {
  const [router, database] = await Promise.all([startCrossbar(), createTestDatabase()]);
  const sql = await database.connect();
  const artifactDir = await mkdtemp(joinPath(tmpdir(), 'boardwalk-artifacts-'));
  const fixture: Fixture = {
    router,
    database,
    sql,
    relayKey: randomBytes(16).toString('hex'),
    artifactDir,
    agents: [],
    async startAgent(more = {}) {
      const agent = await spawnAgent(fixture, { ...env, ...more });
      fixture.agents.push(agent);
      return agent;
    },
    rows: async (text, parameters = []) => (await sql.query<RowDataPacket[]>(text, parameters))[0],
    async stop() {
      await Promise.all(fixture.agents.map((each) => each.kill('SIGTERM')));
      await sql.end();
      await router.stop();
      await database.drop();
      await rm(artifactDir, { recursive: true, force: true });
    },
  };
  try {
    for (let index = 0; index < agents; index += 1) await fixture.startAgent();
  } catch (error) {
    await fixture.stop();
    throw error;
  }
  return fixture;
}

async function spawnAgent(fixture: Fixture, env: Record<string, string>): Promise<RunningAgent> {
  const child = spawn(process.execPath, [program], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      DATABASE_URL: fixture.database.url,
      BOARDWALK_ROUTER_SOCKET: fixture.router.agentSocket,
      BOARDWALK_AGENT_TICKET: fixture.router.agentTicket,
      BOARDWALK_RELAY_KEY: fixture.relayKey,
      BOARDWALK_ARTIFACT_DIR: fixture.artifactDir,
      BOARDWALK_BOARD_URLS: fixture.router.url,
      BOARDWALK_LOG_LEVEL: 'debug',
      ...env,
    },
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      log += chunk;
    });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const line = await until(
    'the wamp-agent serves',
    () => {
      if (child.exitCode !== null) throw new Error(`it ended:\n${log}`);
      const line = log.split('\n').find((each) => each.includes('wamp-agent started'));
      return log.includes('serving at the router') ? line : undefined;
    },
    { timeoutMs: 30_000 },
  ).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw new Error(`the agent does not serve; it said:\n${log}`, { cause: error });
  });
  const started = JSON.parse(line) as StartLine;
  return {
    id: started.agentId,
    relayUrl: started.relayUrl,
    child,
    log: () => log,
    async kill(signal = 'SIGKILL') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
    },
  };
}

interface StartLine {
  agentId: string;
  relayUrl: string;
}

export async function seedTenant({ sql }: Fixture): Promise<string> {
  const id = randomUUID();
  await sql.query(
    'INSERT INTO tenants (id, name, slug, created_at, updated_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))',
    [id, id, id],
  );
  return id;
}

/** A board with an active key, never online. */
export async function seedBoard(fixture: Fixture, tenantId: string): Promise<SeededBoard> {
  const uuid = randomUUID();
  const name = `board-${uuid.slice(0, 8)}`;
  await fixture.sql.query(
    'INSERT INTO boards (uuid, tenant_id, name, created_at, updated_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))',
    [uuid, tenantId, name],
  );
  const keys = generateKeyPair();
  await seedCredential(fixture, uuid, keys.publicKey, 'active');
  return { uuid, name, tenantId, ...keys };
}

export async function seedCredential(
  { sql }: Fixture,
  boardUuid: string,
  publicKey: string,
  state: string,
): Promise<void> {
  await sql.query(
    'INSERT INTO board_credentials (id, board_uuid, public_key, state, created_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(3))',
    [randomUUID(), boardUuid, publicKey, state],
  );
}

export async function seedCode(
  { sql }: Fixture,
  boardUuid: string,
  expiresInSeconds = 3600,
): Promise<string> {
  const code = randomToken();
  await sql.query(
    `INSERT INTO enrolment_codes (code_hash, board_uuid, created_by, created_at, expires_at)
     VALUES (?, ?, 'test', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL ? SECOND)`,
    [hashEnrolmentCode(code), boardUuid, expiresInSeconds],
  );
  return code;
}

export interface SeededKey {
  id: string;
  token: string;
}

export async function seedKey(
  { sql }: Fixture,
  tenantId: string,
  scope: { role?: string; boards?: string[]; procedures?: string[] } = {},
): Promise<SeededKey> {
  const id = randomUUID();
  const token = `bw_${id.replaceAll('-', '')}_${randomToken()}`;
  await sql.query(
    `INSERT INTO api_keys (id, tenant_id, name, secret_hash, role, boards, procedures, created_by, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, 'test', UTC_TIMESTAMP(3))`,
    [
      id,
      tenantId,
      id,
      hashToken(token),
      scope.role ?? 'manager_iot_project',
      scope.boards ? JSON.stringify(scope.boards) : null,
      scope.procedures ? JSON.stringify(scope.procedures) : null,
    ],
  );
  return { id, token };
}

export function joinBoard(
  { router }: Fixture,
  board: SeededBoard,
  more: Partial<JoinOptions> = {},
): Promise<RawSession> {
  const { uuid: authid, publicKey, privateKey } = board;
  return join({ url: router.url, method: 'cryptosign', authid, publicKey, privateKey, ...more });
}

export function joinService({ router }: Fixture, { id, token }: SeededKey): Promise<RawSession> {
  return join({ url: router.url, method: 'ticket', authid: id, ticket: token });
}

export function helloOf(more: Partial<HelloRequest> = {}): HelloRequest {
  return {
    agentVersion: '0.1.0',
    bootId: 'boot-1',
    connectivity: { kind: 'ethernet', localAddress: '10.0.0.2', interface: 'eth0' },
    procedures: [
      {
        name: 'echo',
        kwargs: { type: 'object', properties: { text: { type: 'string' } } },
        safety: 'idempotent',
      },
      { name: 'fail', safety: 'idempotent' },
      { name: 'sleep', safety: 'idempotent' },
      { name: 'count', safety: 'idempotent', progress: true },
    ],
    modules: [{ name: 'lab', streams: [{ name: 'lab/level', type: 'number', unit: 'm' }] }],
    spoolEpoch: randomUUID(),
    ...more,
  };
}

/** What a board does after joining: its prefix, and hello. */
export async function greet(
  session: RawSession,
  hello: HelloRequest = helloOf(),
  handler?: (procedure: string, call: RawCall) => Promise<unknown> | unknown,
): Promise<unknown> {
  const prefix = boardPrefix(session.authid);
  await session.register(prefix, { match: 'prefix', force_reregister: true }, (call) =>
    handler?.(String(call.details.procedure).slice(prefix.length), call),
  );
  return session.call(agentUris.hello, hello);
}

export interface RelayAnswer {
  status: number;
  body: Record<string, unknown>;
}

export async function relay(
  fixture: Fixture,
  path: string,
  body: object,
  {
    agent = fixture.agents[0],
    key = fixture.relayKey,
  }: { agent?: RunningAgent | undefined; key?: string } = {},
): Promise<RelayAnswer> {
  const response = await fetch(`${agent?.relayUrl}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** A call as the api sends it. */
export function rpcBody(board: SeededBoard, procedure: string, more: object = {}): object {
  return {
    boardUuid: board.uuid,
    sessionId: randomUUID(),
    procedure,
    kwargs: {},
    timeoutMs: 5000,
    contractsHash: null,
    requestId: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    caller: { kind: 'user', id: 'u1' },
    ...more,
  };
}
