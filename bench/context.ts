/**
 * What the measurements share: a whole stack of its own, rows of boards, a process that plays them,
 * and bare sessions. Parts are made when first wanted, and all of it is gone after stop().
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { agentSocketPath } from '../bin/stack/crossbar.ts';
import { generateKeyPair } from '../board-agent/session/cryptosign.ts';
import { faultKind } from '../common/db/fault-kind.ts';
import { withRetry } from '../common/runtime/backoff.ts';
import { hashToken, randomToken } from '../common/runtime/secrets.ts';
import { startStack, type TestStack } from '../test/harness/stack.ts';
import { type BoardsProcess, startBoardsProcess } from './boards/host.ts';
import type { BoardKeys, Router } from './boards/messages.ts';
import { type RawRouter, startRawRouter } from './raw-router.ts';
import { openRawSession, type RawSession } from './raw-session.ts';

export interface BenchContext {
  stack: TestStack;
  router: Router;
  database: Connection;
  /** Bare sessions on the stack's own router, as the wamp-agent has one. */
  raw(): Promise<RawSession>;
  /** A router of its own, whose authenticator and authorizer say yes at once. */
  rawRouter(): Promise<RawRouter>;
  /** Boards that are online, exactly so many; made when they are not there yet. */
  boards(count: number): Promise<BoardKeys[]>;
  /** Boards in the database that have not joined. */
  register(count: number): Promise<BoardKeys[]>;
  boardsProcess: BoardsProcess;
  /** POST over HTTP with keep-alive; throws for anything but 200. */
  callHttp(board: string, procedure: string, key?: string): Promise<void>;
  /** POST of a body over HTTP with keep-alive; gives back the answer, throws for anything but success. */
  postHttp(path: string, body: object): Promise<unknown>;
  /** The tenant of the boards. */
  tenantId(): Promise<string>;
  /** Further API keys that may call every board. */
  makeKeys(count: number): Promise<string[]>;
  /** Statements that the database has been asked, by all its clients. */
  questions(): Promise<number>;
  pid(name: string): number;
  stop(): Promise<void>;
}

export async function createContext(): Promise<BenchContext> {
  const stack = await startStack({ env: { BOARDWALK_LOG_LEVEL: 'info' } });
  const router = { url: stack.wampUrl, realm: stack.realm };
  const database = await createConnection({ uri: stack.databaseUrl, timezone: 'Z' });
  const boardsProcess = startBoardsProcess();
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 64 });
  const known: BoardKeys[] = [];
  let online = 0;
  let raw: Promise<RawSession> | undefined;
  let rawRouter: Promise<RawRouter> | undefined;

  async function tenantId(): Promise<string> {
    const [[tenant]] = await database.query<RowDataPacket[]>('SELECT id FROM tenants LIMIT 1');
    return String(tenant?.id);
  }

  async function register(count: number): Promise<BoardKeys[]> {
    const tenant = await tenantId();
    const made = Array.from({ length: count }, () => ({ uuid: randomUUID(), ...generateKeyPair() }));
    const now = new Date();
    // Locks of the servers' own work are met like by anybody else.
    await withRetry(
      () =>
        database.query('INSERT INTO boards (uuid, tenant_id, name, created_at, updated_at) VALUES ?', [
          made.map(({ uuid }) => [uuid, tenant, `bench-${uuid}`, now, now]),
        ]),
      retryLocks,
    );
    await database.query(
      'INSERT INTO board_credentials (id, board_uuid, public_key, state, created_at) VALUES ?',
      [made.map(({ uuid, publicKey }) => [randomUUID(), uuid, publicKey, 'active', now])],
    );
    return made;
  }

  return {
    stack,
    router,
    database,
    boardsProcess,
    register,
    raw() {
      raw ??= openRaw(stack);
      return raw;
    },
    rawRouter() {
      rawRouter ??= startRawRouter();
      return rawRouter;
    },
    async boards(count) {
      if (online > count) {
        await boardsProcess.run({ do: 'leave' });
        online = 0;
      }
      if (known.length < count) known.push(...(await register(count - known.length)));
      if (online < count) await boardsProcess.run({ do: 'join', router, boards: known.slice(online, count) });
      online = count;
      return known.slice(0, count);
    },
    callHttp: (board, procedure, key = stack.admin.apiKey) =>
      post({ agent, key, url: `${stack.apiUrl}/v1/boards/${board}/rpc/${procedure}` }).then(() => undefined),
    postHttp: (path, body) =>
      post({ agent, key: stack.admin.apiKey, url: stack.apiUrl + path, body: JSON.stringify(body) }),
    tenantId,
    async makeKeys(count) {
      const tenant = await tenantId();
      const now = new Date();
      const made = Array.from({ length: count }, () => ({
        id: randomUUID(),
        key: `bw_bench_${randomToken()}`,
      }));
      await database.query(
        'INSERT INTO api_keys (id, tenant_id, name, secret_hash, role, created_by, created_at) VALUES ?',
        [made.map(({ id, key }) => [id, tenant, id, hashToken(key), 'manager_iot_project', 'bench', now])],
      );
      return made.map(({ key }) => key);
    },
    async questions() {
      const [[row]] = await database.query<RowDataPacket[]>("SHOW GLOBAL STATUS LIKE 'Questions'");
      return Number(row?.Value);
    },
    pid(name) {
      const found = stack.processes().find((each) => each.name === name);
      if (found === undefined) throw new Error(`there is no process ${name}`);
      return found.pid;
    },
    async stop() {
      agent.destroy();
      (await raw)?.close();
      await boardsProcess.stop();
      await (await rawRouter)?.stop();
      await database.end();
      await stack.stop();
    },
  };
}

async function openRaw(stack: TestStack): Promise<RawSession> {
  const secrets = JSON.parse(readFileSync(join(stack.home, 'secrets.json'), 'utf8')) as {
    agentTicket: string;
  };
  const socket = await agentSocketPath(join(stack.home, 'crossbar'));
  return openRawSession({ socket, realm: stack.realm, ticket: secrets.agentTicket });
}

const emptyBody = '{}';
const retryLocks = {
  baseMs: 50,
  capMs: 500,
  deadlineMs: 10_000,
  retryable: (error: unknown) => faultKind(error) === 'rollback',
};

interface Post {
  agent: Agent;
  key: string;
  url: string;
  body?: string;
}

function post({ agent, key, url, body = emptyBody }: Post): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method: 'POST',
      agent,
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      },
    });
    outgoing.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const { statusCode = 0 } = response;
        if (statusCode >= 200 && statusCode < 300) resolve(JSON.parse(text));
        else reject(new Error(`${url}: ${response.statusCode} ${text}`));
      });
    });
    outgoing.on('error', reject);
    // Calls have 30 s: whatever takes longer is a fault of the product, not of a busy machine.
    outgoing.setTimeout(40_000, () => outgoing.destroy(new Error(`${url}: no answer`)));
    outgoing.end(body);
  });
}
