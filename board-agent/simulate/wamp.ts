/**
 * Boards over WAMP: each is created by the API, enrolled, and runs as a whole agent in this process,
 * with a spool on disk and a session of its own. Acknowledged is what the server has committed.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../common/runtime/app-error.ts';
import { asObject, asString } from '../../common/runtime/guards.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import { type Agent, createAgent } from '../agent.ts';
import { enrol } from '../commands/enrol.ts';
import { parseSettings } from '../settings.ts';
import { type Api, listStreams } from './api.ts';
import { forEachLimited, type Load } from './load.ts';

export interface WampLoadOptions {
  api: Api;
  tenant?: string;
  /** WebSocket URLs of routers. */
  urls: readonly string[];
  realm: string;
  boards: number;
  /** Leave the boards and their readings on the server. */
  keep: boolean;
  signal: AbortSignal;
  say: (line: string) => void;
}

interface PlayedBoard {
  uuid: string;
  name: string;
  agent?: Agent;
  sent: number;
  stored: number;
}

const stream = { name: 'load/value', type: 'number', unit: '' } as const;
/** Enrolments and look-ups at a time. */
const atATime = 8;
/** Readings that may wait in the spools: some seconds of a server that is away. */
const waitingLimit = 100_000;

export async function createWampLoad(options: WampLoadOptions): Promise<Load> {
  const { api, say, signal } = options;
  const run = Date.now().toString(36);
  const folder = await mkdtemp(join(tmpdir(), 'boardwalk-simulate-'));
  const boards: PlayedBoard[] = [];
  const close = () => closeAll(boards, folder, options);
  try {
    say(`creating ${options.boards} boards`);
    await forEachLimited(Array.from({ length: options.boards }), atATime, async (_, index) => {
      if (!signal.aborted) await addBoard(boards, `sim-${run}-${index + 1}`, folder, options);
    });
    await waitUntilOnline(boards, signal);
  } catch (error) {
    await close();
    throw error;
  }

  const acknowledged = () => sum(boards, ackedOf);
  return {
    devices: boards.length,
    counts: () => ({
      sent: sum(boards, (each) => each.sent),
      acknowledged: acknowledged(),
      refused: sum(boards, lostOf),
      unavailable: 0,
    }),
    send(device) {
      const board = boards[device];
      if (!board?.agent) return;
      board.sent += 1;
      board.agent.spool.add({ stream, at: Date.now(), value: board.sent });
    },
    hasRoom: () => sum(boards, (each) => each.sent) - acknowledged() < waitingLimit,
    async drain(until) {
      for (const { agent } of boards) agent?.spool.flush();
      while (!until.aborted && boards.some((each) => ackedOf(each) + lostOf(each) < each.sent))
        await sleep(50);
    },
    async countStored() {
      const open = boards.filter((each) => each.stored < each.sent);
      await forEachLimited(open, atATime, async (board) => {
        board.stored = (await listStreams(api, board.uuid)).get(stream.name)?.count ?? 0;
      });
      return sum(boards, (each) => each.stored);
    },
    findDifferences: () =>
      Promise.resolve(
        boards
          .filter((each) => each.sent !== ackedOf(each) || each.sent !== each.stored)
          .map((each) => {
            const { phase, lastFailure } = each.agent?.session.state() ?? {};
            const why = phase === 'online' ? '' : `, ${phase}: ${lastFailure?.reason ?? ''}`;
            return `${each.name}: sent ${each.sent}, acknowledged ${ackedOf(each)}, stored ${each.stored}, lost ${lostOf(each)}${why}`;
          }),
      ),
    close,
  };
}

const sum = (boards: readonly PlayedBoard[], of: (board: PlayedBoard) => number) =>
  boards.reduce((total, each) => total + of(each), 0);

const ackedOf = ({ agent }: PlayedBoard) => agent?.spool.stats().ackedSeq ?? 0;

function lostOf({ agent }: PlayedBoard): number {
  const { spoolFull = 0, tooOld = 0, diskFull = 0, refused = 0 } = agent?.spool.stats().lost ?? {};
  return spoolFull + tooOld + diskFull + refused;
}

async function addBoard(
  boards: PlayedBoard[],
  name: string,
  folder: string,
  { api, tenant, urls, realm }: WampLoadOptions,
): Promise<void> {
  const created = await api.request('POST', '/v1/boards', { name, ...(tenant !== undefined && { tenant }) });
  const uuid = asString(created.uuid, 'uuid', { max: 36 });
  const board: PlayedBoard = { uuid, name, sent: 0, stored: 0 };
  // Before anything else may fail: it is to be deleted.
  boards.push(board);
  const code = asString(asObject(created.enrolmentCode, 'enrolmentCode').code, 'code', { max: 200 });
  const stateDir = join(folder, name);
  const identity = await enrol({ stateDir, urls, code, realm, hostname: name, say: () => undefined });
  board.agent = createAgent({
    stateDir,
    identity,
    settings: parseSettings({ sources: [] }),
    logger: createLogger('simulate', 'silent'),
  });
  await board.agent.start();
}

async function waitUntilOnline(boards: readonly PlayedBoard[], signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + 60_000 + boards.length * 200;
  const away = () => boards.filter((each) => each.agent?.session.state().phase !== 'online');
  while (away().length > 0 && !signal.aborted) {
    if (performance.now() > deadline) {
      const reason = away()[0]?.agent?.session.state().lastFailure?.reason ?? 'no answer';
      throw new AppError('unavailable', `${away().length} boards did not come online: ${reason}`);
    }
    await sleep(50);
  }
}

async function closeAll(
  boards: readonly PlayedBoard[],
  folder: string,
  { api, keep, say }: WampLoadOptions,
): Promise<void> {
  await forEachLimited(boards, atATime, async ({ agent }) => agent?.stop());
  await rm(folder, { recursive: true, force: true });
  if (keep) return;
  say(`deleting ${boards.length} boards`);
  await forEachLimited(boards, atATime, async ({ uuid }) => {
    await api.request('DELETE', `/v1/boards/${uuid}`);
  });
}
