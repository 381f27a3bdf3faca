/** Operations of a board on a real journal file, with a clock that moves only when told. */
import { randomUUID } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { vi } from 'vitest';
import { createOperations, type Operations } from '../../../../board-agent/operations/operations.ts';
import { createRegistry } from '../../../../board-agent/procedures/registry.ts';
import { createServerClock } from '../../../../board-agent/server-clock.ts';
import type { BoardProcedure, CallContext } from '../../../../board-agent/sources/source.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';
import type { JsonObject } from '../../../../common/runtime/guards.ts';
import type { ArtifactChunk } from '../../../../common/wamp/artifacts.ts';
import type { ProcedureContract } from '../../../../common/wamp/contract.ts';
import type {
  OperationReport,
  ProgressRequest,
  ResultRequest,
  RunAnswer,
  StatusAnswer,
} from '../../../../common/wamp/operations.ts';
import { createFakeClock, type FakeClock, silent } from '../fakes.ts';

/** One run of the procedure `work` (or `quick`, `careful`, …): the test ends it. */
export interface Run {
  kwargs: JsonObject;
  context: CallContext;
  resolve: (value?: unknown) => void;
  reject: (error: unknown) => void;
}

export interface TestServer {
  online: boolean;
  reports: OperationReport[];
  progress: ProgressRequest[];
  /** Answer of `operation_result`; default: all of it is acknowledged. */
  onReports: (request: ResultRequest) => unknown;
  onChunk: (chunk: ArtifactChunk) => unknown;
}

export interface TestBoard {
  stateDir: string;
  clock: FakeClock;
  operations: Operations;
  runs: Run[];
  server: TestServer;
  newEpochs: number;
  send(request: Partial<SentRequest>): Promise<RunAnswer>;
  status(...ids: string[]): StatusAnswer;
  cancel(...ids: string[]): Promise<StatusAnswer>;
  goOnline(): void;
  goOffline(): void;
  /** The process dies now: what is on disk at this moment is what the next one finds. */
  kill(change?: Partial<BoardOptions>): Promise<TestBoard>;
}

interface SentRequest {
  operationId: string;
  attempt: number;
  procedure: string;
  kwargs: JsonObject;
  deadlineAt: number;
  sentAt: number;
  inlineMs: number;
  journalEpoch: string;
}

export interface BoardOptions {
  stateDir: string;
  clock: FakeClock;
  contracts: ProcedureContract[];
  server: TestServer;
}

export const boardUuid = randomUUID();

export const contracts: ProcedureContract[] = [
  { name: 'quick', safety: 'idempotent', kwargs: { type: 'object' } },
  { name: 'careful', safety: 'journaled', kwargs: { type: 'object' } },
  { name: 'retryable', safety: 'journaled', onCrash: 'failed' },
  { name: 'once', safety: 'at-most-once' },
  {
    name: 'strict',
    safety: 'journaled',
    kwargs: { type: 'object', properties: { v: { type: 'number' } }, required: ['v'] },
  },
];

const boards: TestBoard[] = [];
const folders: string[] = [];

/** Call it after each test. */
export async function cleanUp(): Promise<void> {
  vi.restoreAllMocks();
  for (const board of boards.splice(0)) {
    board.goOffline();
    for (const run of board.runs) run.reject(new Error('the test is over'));
    const stopped = board.operations.stop();
    await board.clock.advance(5000);
    await stopped;
    board.operations.close();
  }
  for (const each of folders.splice(0)) rmSync(each, { recursive: true });
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'boardwalk-operations-'));
  folders.push(folder);
  return folder;
}

export function createTestServer(): TestServer {
  return {
    online: true,
    reports: [],
    progress: [],
    onReports: ({ reports }) => ({ acknowledged: reports.map((each) => each.operationId) }),
    onChunk: () => {
      throw new AppError('not-found', 'no files here');
    },
  };
}

export function createTestBoard(change: Partial<BoardOptions> = {}): TestBoard {
  const { stateDir = newFolder(), clock = createFakeClock(), server = createTestServer() } = change;
  const runs: Run[] = [];
  const procedures = (change.contracts ?? contracts).map(
    (contract): BoardProcedure => ({
      contract,
      run: (kwargs, context) =>
        new Promise((resolve, reject) => runs.push({ kwargs, context, resolve, reject })),
    }),
  );
  let reporting: AbortController | undefined;
  const operations = createOperations({
    stateDir,
    boardUuid,
    registry: createRegistry(procedures),
    clock,
    serverClock: createServerClock(clock),
    logger: silent,
    random: () => 0.5,
    async call(name, kwargs) {
      if (!server.online) throw new AppError('unavailable', 'offline');
      if (name === 'operationResult') {
        const request = JSON.parse(JSON.stringify(kwargs)) as ResultRequest;
        server.reports.push(...request.reports);
        return server.onReports(request);
      }
      if (name === 'operationProgress') return void server.progress.push(kwargs as ProgressRequest);
      return server.onChunk(kwargs as ArtifactChunk);
    },
    onNewEpoch: () => {
      board.newEpochs += 1;
    },
    onFailure: () => {},
  });
  const reserved = (name: string, kwargs: object) => operations.reserved[`operation.${name}`]?.(kwargs);
  const board: TestBoard = {
    stateDir,
    clock,
    operations,
    runs,
    server,
    newEpochs: 0,
    send: async (request) =>
      (await reserved('run', {
        operationId: randomUUID(),
        attempt: 1,
        procedure: 'careful',
        kwargs: {},
        deadlineAt: clock.now() + 3_600_000,
        sentAt: clock.now(),
        inlineMs: 0,
        ...request,
      })) as RunAnswer,
    status: (...operationIds) => reserved('status', { operationIds }) as StatusAnswer,
    cancel: async (...operationIds) => (await reserved('cancel', { operationIds })) as StatusAnswer,
    goOnline() {
      reporting = new AbortController();
      void operations.report(reporting.signal);
    },
    goOffline: () => reporting?.abort(),
    async kill(more = {}) {
      const copy = newFolder();
      cpSync(stateDir, copy, { recursive: true });
      return createTestBoard({ ...change, stateDir: copy, clock, server, ...more });
    },
  };
  boards.push(board);
  operations.start();
  return board;
}

/** What the journal has on disk now, as another process would find it. */
export function readStored(board: TestBoard): Record<string, string> {
  const copy = newFolder();
  cpSync(board.stateDir, copy, { recursive: true });
  const db = new DatabaseSync(join(copy, 'journal.db'));
  const rows = db.prepare('SELECT id, entry FROM operations').all();
  db.close();
  return Object.fromEntries(
    rows.map((row) => [String(row.id), (JSON.parse(String(row.entry)) as { state: string }).state]),
  );
}

/** From now on nothing can be written, until the result is called. */
export function fillDisk(): () => void {
  const { exec } = DatabaseSync.prototype;
  const full = vi.spyOn(DatabaseSync.prototype, 'exec').mockImplementation(function (
    this: DatabaseSync,
    sql,
  ) {
    if (sql.startsWith('BEGIN')) throw Object.assign(new Error('database or disk is full'), { errcode: 13 });
    exec.call(this, sql);
  });
  return () => full.mockRestore();
}
