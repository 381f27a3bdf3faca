/**
 * Boards for load and fault tests: rows and keys made at once, real agents in a few processes that
 * may be killed. What a board really executed is in its `executions.log`.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mysql2/promise';
import { generateKeyPair } from '../../../board-agent/session/cryptosign.ts';
import { storeIdentity } from '../../../board-agent/state/identity.ts';
import type { TestStack } from '../stack.ts';
import type { BoardsCommand, BoardsOutcome } from './messages.ts';

export interface ManyBoard {
  uuid: string;
  name: string;
  stateDir: string;
}

export interface BoardsProcess {
  readonly boards: readonly ManyBoard[];
  /** Starts the process when there is none, and the agents that are not held back. */
  start(): Promise<void>;
  /** Stops some boards, or lets them come back. */
  hold(boards: readonly ManyBoard[]): Promise<void>;
  release(boards: readonly ManyBoard[]): Promise<void>;
  online(): Promise<number>;
  /** kill -9 of the whole process. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** Its procedures are what is wanted of the source: hardly a reading. */
const settings = {
  sources: [
    { kind: 'simulated', module: 'rig', streams: [{ name: 'idle', waveform: 'constant', rateHz: 0.01 }] },
  ],
};
const patienceMs = 120_000;

/** Boards of a tenant with active keys, as if each had enrolled. */
export async function makeBoards(
  stack: TestStack,
  connection: Connection,
  tenantId: string,
  count: number,
  labels: (index: number) => Record<string, string> = () => ({}),
): Promise<ManyBoard[]> {
  const now = new Date();
  const group = randomUUID().slice(0, 8);
  const made = Array.from({ length: count }, (_, index) => {
    const uuid = randomUUID();
    const name = `many-${group}-${String(index).padStart(4, '0')}`;
    return {
      uuid,
      name,
      stateDir: join(stack.home, 'many', name),
      keys: generateKeyPair(),
      labels: labels(index),
    };
  });
  await connection.query('INSERT INTO boards (uuid, tenant_id, name, created_at, updated_at) VALUES ?', [
    made.map(({ uuid, name }) => [uuid, tenantId, name, now, now]),
  ]);
  await connection.query(
    'INSERT INTO board_credentials (id, board_uuid, public_key, state, created_at) VALUES ?',
    [made.map(({ uuid, keys }) => [randomUUID(), uuid, keys.publicKey, 'active', now])],
  );
  const labelRows = made.flatMap(({ uuid, labels: own }) =>
    Object.entries(own).map(([key, value]) => [uuid, key, tenantId, value]),
  );
  if (labelRows.length > 0)
    await connection.query(
      'INSERT INTO board_labels (board_uuid, label_key, tenant_id, label_value) VALUES ?',
      [labelRows],
    );
  for (const { uuid, name, stateDir, keys } of made) {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    storeIdentity(stateDir, {
      boardUuid: uuid,
      boardName: name,
      tenantId,
      realm: stack.realm,
      routerUrls: [stack.wampUrl],
      settings: { batchIntervalMs: 5000, heartbeatIntervalMs: 10_000, reconnectSpreadMs: 1000 },
      ...keys,
    });
  }
  return made.map(({ uuid, name, stateDir }) => ({ uuid, name, stateDir }));
}

export function createBoardsProcess(boards: readonly ManyBoard[]): BoardsProcess {
  const held = new Set<ManyBoard>();
  let child: ChildProcess | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  /** One command at a time: the answers have no numbers. */
  function send(command: BoardsCommand): Promise<BoardsOutcome> {
    const answer = turn.then(() => ask(command));
    turn = answer.catch(() => undefined);
    return answer;
  }

  function ask(command: BoardsCommand): Promise<BoardsOutcome> {
    const to = child;
    if (!to) return Promise.resolve({});
    return new Promise((resolve, reject) => {
      // Killed meanwhile: the next start begins with all that is not held back.
      const onExit = () => settle(() => resolve({}));
      const onMessage = (message: BoardsOutcome & { error?: string }) =>
        settle(() => (message.error ? reject(new Error(message.error)) : resolve(message)));
      const late = setTimeout(
        () => settle(() => reject(new Error(`${command.do} takes too long`))),
        patienceMs,
      );
      const settle = (how: () => void) => {
        clearTimeout(late);
        to.off('exit', onExit).off('message', onMessage);
        how();
      };
      to.once('exit', onExit).once('message', onMessage);
      to.send(command);
    });
  }

  const dirsOf = (some: readonly ManyBoard[]) => some.map(({ stateDir }) => stateDir);

  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => void ending.once('exit', () => resolve()));
    ending.kill(signal);
    await ended;
  }

  return {
    boards,
    async start() {
      child ??= fork(join(import.meta.dirname, 'process.ts'), {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      await send({ do: 'start', stateDirs: dirsOf(boards.filter((each) => !held.has(each))), settings });
    },
    async hold(some) {
      for (const each of some) held.add(each);
      await send({ do: 'stop', stateDirs: dirsOf(some) });
    },
    async release(some) {
      for (const each of some) held.delete(each);
      await send({ do: 'start', stateDirs: dirsOf(some), settings });
    },
    online: async () => (await send({ do: 'online' })).online ?? 0,
    kill: () => end('SIGKILL'),
    async stop() {
      await send({ do: 'stop', stateDirs: dirsOf(boards) });
      await end('SIGTERM');
    },
  };
}

export interface Execution {
  operationId: string;
  attempt: number;
}

/** What the board began to execute, in order. A last line that was cut off by a kill was not begun. */
export function readExecutions({ stateDir }: ManyBoard): Execution[] {
  const path = join(stateDir, 'executions.log');
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Execution);
}
