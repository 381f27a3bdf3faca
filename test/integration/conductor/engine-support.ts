/** Engines on a real database, and a relay over HTTP that plays the boards behind it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { readyBoards } from '../../../common/db/queries/board-queues.ts';
import { findLiveAgents } from '../../../common/db/queries/wamp-agents.ts';
import { createAgentDirectory } from '../../../common/relay/agent-directory.ts';
import type { RelayCall } from '../../../common/relay/messages.ts';
import { createRelayClient } from '../../../common/relay/relay-client.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import type { RunRequest } from '../../../common/wamp/operations.ts';
import { type Engine, startEngine } from '../../../conductor/engine/engine.ts';
import type { EngineSettings } from '../../../conductor/engine/settings.ts';
import { relayKey } from '../rpc-support.ts';
import { openConductorDatabase, silent } from './support.ts';

/** What a played board does with a call: an answer, or a refusal of its relay. */
export type Reply =
  | { result: unknown }
  | { status: number; code: string; mayHaveRun?: boolean }
  | 'break-off';
export type PlayedBoards = (call: RelayCall) => Reply | Promise<Reply>;

export interface PlayedRelay {
  url: string;
  calls: (RelayCall & { at: number })[];
  /** Boards that are in a call, and the most at a time for one board. */
  atOnce(boardUuid: string): number;
  play(boards: PlayedBoards): void;
  close(): Promise<void>;
}

export const journalEpoch = '11111111-1111-4111-8111-111111111111';

/** As a board answers that runs everything at once. */
export function succeed({ kwargs }: RelayCall, result: unknown = { done: true }): Reply {
  const { operationId, attempt } = kwargs as unknown as RunRequest;
  return { result: { journalEpoch, report: { operationId, attempt, state: 'succeeded', result, runs: 1 } } };
}

export function report({ kwargs }: RelayCall, state: string, more: object = {}): Reply {
  const { operationId, attempt } = kwargs as unknown as RunRequest;
  return { result: { journalEpoch, report: { operationId, attempt, state, ...more } } };
}

export const status = (
  reports: object[],
  missing: string[] = [],
  since = 0,
  epoch = journalEpoch,
): Reply => ({
  result: { journalEpoch: epoch, since, reports, missing },
});

export async function playRelay(): Promise<PlayedRelay> {
  const calls: PlayedRelay['calls'] = [];
  const now = new Map<string, number>();
  const most = new Map<string, number>();
  let boards: PlayedBoards = (call) => succeed(call);
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const call = JSON.parse(Buffer.concat(chunks).toString('utf8')) as RelayCall;
    calls.push({ ...call, at: performance.now() });
    const { boardUuid } = call;
    now.set(boardUuid, (now.get(boardUuid) ?? 0) + 1);
    most.set(boardUuid, Math.max(most.get(boardUuid) ?? 0, now.get(boardUuid) ?? 0));
    const reply = await boards(call);
    now.set(boardUuid, (now.get(boardUuid) ?? 1) - 1);
    if (reply === 'break-off') {
      response.destroy();
      return;
    }
    const isResult = 'result' in reply;
    response.writeHead(isResult ? 200 : reply.status, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(
        isResult
          ? { result: reply.result, durationMs: 1 }
          : { code: reply.code, message: `played ${reply.code}`, details: { mayHaveRun: reply.mayHaveRun } },
      ),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    atOnce: (boardUuid) => most.get(boardUuid) ?? 0,
    play(played) {
      boards = played;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export type EngineFixture = Awaited<ReturnType<typeof openEngineFixture>>;

export async function openEngineFixture() {
  const db = await openConductorDatabase();
  const relay = await playRelay();
  await db.rows.agent(relay.url);
  const engines: { engine: Engine; database: Database; close(): Promise<void> }[] = [];

  async function online(tenantId: string, name: string, procedures: Record<string, string> = {}) {
    const uuid = await db.rows.board(tenantId, name, {
      contracts_hash: 'ordinary',
      journal_epoch: journalEpoch,
    });
    const contracts = { 'system.echo': 'idempotent', 'system.once': 'at-most-once', ...procedures };
    const rows = Object.entries({ ...contracts, 'system.journaled': 'journaled' });
    await db.connection.query('INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES ?', [
      rows.map(([procedure, safety]) => [uuid, procedure, JSON.stringify({ name: procedure, safety })]),
    ]);
    return { uuid, session: await db.rows.session(uuid) };
  }

  /** Rows as the API makes them. */
  async function operation(
    tenantId: string,
    boards: readonly string[],
    columns: Record<string, unknown> = {},
    options: { targets?: Record<string, unknown>; queued?: boolean } = {},
  ): Promise<string> {
    const id = timeUuid();
    const at = new Date();
    const deadline = new Date(Date.now() + 600_000);
    const made = { created_at: at, updated_at: at };
    await db.connection.query('INSERT INTO operations SET ?', [
      {
        id,
        tenant_id: tenantId,
        procedure_name: 'system.echo',
        kwargs: '{"text":"x"}',
        target: '{}',
        delivery: 'when-online',
        state: 'active',
        deadline_at: deadline,
        target_count: boards.length,
        created_by: 'test',
        ...made,
        ...columns,
      },
    ]);
    const target = { queue: 1, state: 'queued', deadline_at: columns.deadline_at ?? deadline, ...made };
    const names = [
      'board_uuid',
      'operation_id',
      'tenant_id',
      ...Object.keys({ ...target, ...options.targets }),
    ];
    for (let from = 0; from < boards.length; from += 5000)
      await db.connection.query(`INSERT INTO operation_targets (${names.join(', ')}) VALUES ?`, [
        boards
          .slice(from, from + 5000)
          .map((uuid) => [uuid, id, tenantId, ...Object.values({ ...target, ...options.targets })]),
      ]);
    if (options.queued !== false)
      await db.database.transaction((manager) =>
        readyBoards(
          manager,
          boards.map((boardUuid) => ({ boardUuid, tenantId })),
        ),
      );
    return id;
  }

  function start(settings: Partial<EngineSettings> = {}, id: string = timeUuid()) {
    const database = createDatabase({ url: db.url, logger: silent });
    const client = createRelayClient({
      directory: createAgentDirectory({ findAgents: () => database.read(findLiveAgents) }),
      key: relayKey,
      logger: silent,
    });
    const engine = startEngine({
      database,
      logger: silent,
      relay: client,
      id,
      settings: { lookEveryMs: 200, marginMs: 1000, ...settings },
    });
    const entry = {
      engine,
      database,
      async close() {
        await engine.stop();
        client.close();
        await database.close();
      },
    };
    engines.push(entry);
    return engine;
  }

  const first = async (sql: string, parameters: unknown[]) => {
    const [rows] = await db.connection.query(sql, parameters);
    return (rows as Record<string, unknown>[])[0];
  };

  return {
    ...db,
    relay,
    online,
    operation,
    start,
    target: (operationId: string, board?: string) =>
      first(
        `SELECT * FROM operation_targets WHERE operation_id = ?${board === undefined ? '' : ' AND board_uuid = ?'}`,
        [operationId, board].filter((each) => each !== undefined),
      ),
    state: (operationId: string) => db.value('SELECT state FROM operations WHERE id = ?', [operationId]),
    queue: (board: string) => first('SELECT * FROM board_queues WHERE board_uuid = ?', [board]),
    async kinds(operationId: string, board?: string): Promise<string[]> {
      const [rows] = await db.connection.query(
        `SELECT kind FROM operation_events WHERE operation_id = ? AND board_uuid ${board ? '= ?' : 'IS NOT NULL'} ORDER BY id`,
        [operationId, board].filter((each) => each !== undefined),
      );
      return (rows as { kind: string }[]).map(({ kind }) => kind);
    },
    /** Ends the engines; the database and the relay stay. */
    async stopEngines() {
      await Promise.all(engines.splice(0).map((each) => each.close()));
    },
    async close() {
      await Promise.all(engines.splice(0).map((each) => each.close()));
      await relay.close();
      await db.close();
    },
  };
}
