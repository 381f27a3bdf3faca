/**
 * Every process dies by kill -9, and every link by a cut or a freeze, while readings stream and
 * calls run. Afterwards all is as if nothing had been: nothing lost, nothing twice, presence right.
 */
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FaultyProxy, startFaultyProxy } from '../harness/faulty-proxy.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { until } from '../harness/until.ts';

const rpcDeadlineMs = 4000;
/** What a call may take over its deadline: the HTTP round trip on a busy machine. */
const graceMs = 1500;
const presenceMs = 15_000;

let stack: TestStack;
let proxy: FaultyProxy;
let board: TestBoard;
let calls: CallLoad;

beforeAll(async () => {
  // The router's port is known only later; the proxy reads its target at each connection.
  const target = { port: 1 };
  proxy = await startFaultyProxy(target);
  stack = await startStack({
    agents: 2,
    conductors: 2,
    env: { BOARDWALK_BOARD_URLS: proxy.url, BOARDWALK_BATCH_INTERVAL_MS: '500' },
  });
  target.port = Number(new URL(stack.wampUrl).port);
  board = await enrolBoard(stack, { name: 'faulty', url: proxy.url, settings: countingSettings });
  await board.start();
  calls = startCalls();
}, 120_000);

afterAll(async () => {
  await calls?.stop();
  await board?.end('SIGTERM');
  await proxy?.close();
  await stack?.stop();
}, 60_000);

/** One stream that counts 1, 2, 3 …: a hole or a double shows in its values. */
const countingSettings = {
  sources: [
    { kind: 'simulated', module: 'sim', streams: [{ name: 'count', waveform: 'counter', rateHz: 50 }] },
  ],
};

interface Outcome {
  status: number;
  code: string | undefined;
  tookMs: number;
}

interface CallLoad {
  outcomes: Outcome[];
  stop(): Promise<void>;
}

/** Calls `ping` without a pause, two at a time, and notes how each one ended. */
function startCalls(): CallLoad {
  const outcomes: Outcome[] = [];
  let running = true;
  const worker = async () => {
    while (running) {
      const outcome = await callOnce();
      outcomes.push(outcome);
      // Refused connections answer at once: no busy loop while the api is away.
      if (outcome.status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const workers = [worker(), worker()];
  return {
    outcomes,
    async stop() {
      running = false;
      await Promise.all(workers);
    },
  };
}

async function callOnce(): Promise<Outcome> {
  const startedAt = performance.now();
  const tookMs = () => performance.now() - startedAt;
  try {
    const response = await fetch(`${stack.apiUrl}/v1/boards/${board.uuid}/rpc/ping`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${stack.admin.apiKey}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ timeoutMs: rpcDeadlineMs }),
      signal: AbortSignal.timeout(rpcDeadlineMs + 10_000),
    });
    const body = (await response.json()) as { code?: string };
    return { status: response.status, code: body.code, tookMs: tookMs() };
  } catch (error) {
    // The api itself was killed: the client sees a closed or refused connection.
    return {
      status: 0,
      code: error instanceof Error && error.name === 'TimeoutError' ? 'client-timeout' : 'connection',
      tookMs: tookMs(),
    };
  }
}

const statusIs = (status: string) => async () => (await board.show()).status === status;

async function works(): Promise<void> {
  await until('a call is answered again', async () => (await callOnce()).status === 200, {
    timeoutMs: 45_000,
  });
  await until('the board is online', statusIs('online'), { timeoutMs: 45_000 });
  const before = await received();
  await until('readings go on', async () => (await received()) > before, { timeoutMs: 30_000 });
}

async function received(): Promise<number> {
  const { items } = await board.show().then(async () => {
    const response = await fetch(`${stack.apiUrl}/v1/boards/${board.uuid}/streams`, {
      headers: { Authorization: `Bearer ${stack.admin.apiKey}` },
    });
    return (await response.json()) as { items: { name: string; count: number }[] };
  });
  return items.find((each) => each.name === 'sim/count')?.count ?? 0;
}

async function withDatabase<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({ uri: stack.databaseUrl });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

/** Rows against the fences: as many rows as acknowledged numbers, none twice, no gap. */
async function requireExactlyOnce(): Promise<void> {
  await withDatabase(async (connection) => {
    const [spools] = await connection.query<RowDataPacket[]>(
      'SELECT id, acked_seq, received, lost FROM board_spools WHERE board_uuid = ?',
      [board.uuid],
    );
    expect(spools.length).toBeGreaterThan(0);
    for (const spool of spools) {
      const [[rows]] = await connection.query<RowDataPacket[]>(
        'SELECT COUNT(*) AS total, COUNT(DISTINCT seq) AS different, COALESCE(MAX(seq), 0) AS newest FROM readings WHERE spool_id = ? AND seq <= ?',
        [spool.id, spool.acked_seq],
      );
      expect({
        total: Number(rows?.total),
        different: Number(rows?.different),
        newest: Number(rows?.newest),
        lost: Number(spool.lost),
      }).toEqual({
        total: Number(spool.acked_seq),
        different: Number(spool.acked_seq),
        newest: Number(spool.acked_seq),
        lost: 0,
      });
    }
  });
}

describe('kill -9', () => {
  it.each(['wamp-agent', 'wamp-agent-2', 'api', 'conductor', 'crossbar', 'mariadb'])(
    'of %s heals by itself and loses nothing',
    async (name) => {
      await works();
      const killed = stack.kill(name);
      await until(`${name} is started again`, () =>
        stack.processes().some((each) => each.name === name && each.pid !== killed),
      );
      await works();
      await requireExactlyOnce();
    },
    150_000,
  );

  it('of the board agent shows offline within 15 s, and its readings continue after a new start', async () => {
    await works();
    await board.end('SIGKILL');
    await until('the board is offline', statusIs('offline'), { timeoutMs: presenceMs });
    await board.start();
    await works();
    await requireExactlyOnce();
  }, 120_000);

  it('of a wamp-agent right after the other leaves the cell with one that works', async () => {
    await works();
    stack.kill('wamp-agent');
    stack.kill('wamp-agent-2');
    await works();
    await requireExactlyOnce();
  }, 150_000);
});

describe('the link between board and router', () => {
  it('cut: the board comes back by itself', async () => {
    await works();
    proxy.cut();
    await works();
    await requireExactlyOnce();
  }, 120_000);

  it('half-open: the board shows offline within 15 s, and online again after the thaw', async () => {
    await works();
    proxy.setMode('freeze');
    await until('the board is offline', statusIs('offline'), { timeoutMs: presenceMs });
    const refused = await callOnce();
    expect(refused).toMatchObject({ status: 409, code: 'board-offline' });
    proxy.setMode('drop');
    proxy.setMode('pass');
    await works();
    await requireExactlyOnce();
  }, 120_000);

  it('half-open and thawed as it was: the stale link does not come to life beside the new one', async () => {
    await works();
    proxy.setMode('freeze');
    await until('the board is offline', statusIs('offline'), { timeoutMs: presenceMs });
    proxy.setMode('pass');
    await works();
    await requireExactlyOnce();
    const live = await withDatabase(async (connection) => {
      const [rows] = await connection.query<RowDataPacket[]>(
        'SELECT COUNT(*) AS live FROM board_sessions WHERE board_uuid = ? AND live = 1',
        [board.uuid],
      );
      return Number(rows[0]?.live);
    });
    expect(live).toBe(1);
  }, 120_000);

  it('gone for a while: what was measured meanwhile arrives afterwards', async () => {
    await works();
    proxy.setMode('drop');
    await until('the board is offline', statusIs('offline'), { timeoutMs: presenceMs });
    const before = await received();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    proxy.setMode('pass');
    await works();
    // 50 readings a second for the 3 s and more of the outage.
    await until('the backlog arrived', async () => (await received()) > before + 150, { timeoutMs: 30_000 });
    await requireExactlyOnce();
  }, 120_000);
});

describe('the calls that ran meanwhile', () => {
  it('each ended within its deadline, answered or with the code of its failure', async () => {
    await calls.stop();
    const codes = new Set(calls.outcomes.map(({ status, code }) => (status === 200 ? 'answered' : code)));
    const late = calls.outcomes.filter(({ tookMs }) => tookMs > rpcDeadlineMs + graceMs);
    expect(late).toEqual([]);
    const known = [
      'answered',
      'board-offline',
      'deadline-exceeded',
      'relay-unavailable',
      'unavailable',
      'connection',
      'procedure-not-found',
    ];
    expect([...codes].filter((code) => !known.includes(code ?? ''))).toEqual([]);
    expect(calls.outcomes.filter(({ status }) => status === 200).length).toBeGreaterThan(100);
  });

  it('every value counted on the board is stored once', async () => {
    await board.end('SIGTERM');
    await requireExactlyOnce();
  });
});
