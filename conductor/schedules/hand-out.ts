/**
 * Hands schedules to the boards that run them by themselves. What a board shall have is computed from
 * the rows each time; what it was given is one row with a hash, and with the journal that has it, so
 * that a board that lost its state gets all of it again. Boards that are offline are handed theirs
 * when they are back; what a schedule's author may not do any more is taken back. Giving a list twice
 * does no harm: it replaces what the board has.
 */
import { randomBytes } from 'node:crypto';
import { requireAuthority } from '../../common/db/queries/authority.ts';
import { resolveTargets } from '../../common/db/queries/operation-targets.ts';
import type { ScheduleRow } from '../../common/db/queries/schedule-rows.ts';
import type { RelayClient } from '../../common/relay/relay-client.ts';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { reservedProcedures } from '../../common/wamp/uris.ts';
import type { BoardRests } from '../board-rests.ts';
import type { TaskContext } from '../scheduler.ts';
import { createBudget } from '../tasks/chunks.ts';
import { type BoardList, emptyList, planLists } from './board-lists.ts';
import {
  findHandedTo,
  findOfflineSchedules,
  findOfflineTenants,
  findOnlineBoards,
  forgetHanded,
  noteError,
  noteHanded,
  type OnlineBoard,
} from './hand-out-queries.ts';
import { deedOf } from './schedule-queries.ts';

export interface HandOutOptions {
  relay: Pick<RelayClient, 'call'>;
  /** Boards that did not take theirs. */
  rests: BoardRests;
}

/** How long a board rests that did not take its schedules. */
export const handOutRestMs = 30_000;

const runMs = 20_000;
const callTimeoutMs = 5000;
const callsAtOnce = 20;
/** Of one tenant in one run; the others come with the next one. */
const boardsPerRun = 500;

export async function handOutSchedules(context: TaskContext, options: HandOutOptions): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const detail = { handed: 0, refused: 0, complete: true };
  for (const tenantId of await context.database.read(findOfflineTenants)) {
    if (budget.spent()) return { ...detail, complete: false };
    const wanting = await findWanting(context, tenantId, options.rests);
    detail.complete &&= wanting.length <= boardsPerRun;
    const queue = wanting.slice(0, boardsPerRun);
    const work = async () => {
      for (let next = queue.shift(); next && !budget.spent(); next = queue.shift()) {
        const handed = await handOut(context, options, tenantId, next);
        detail[handed ? 'handed' : 'refused'] += 1;
      }
    };
    await Promise.all(Array.from({ length: callsAtOnce }, work));
  }
  return detail;
}

interface Wanting {
  board: OnlineBoard;
  list: BoardList;
}

/** Boards that are online and have not what they shall have. */
async function findWanting(context: TaskContext, tenantId: string, rests: BoardRests): Promise<Wanting[]> {
  const { database } = context;
  const schedules = await database.read((manager) => findOfflineSchedules(manager, tenantId));
  const targets = [];
  for (const schedule of schedules)
    targets.push({ schedule, boards: await findBoards(context, tenantId, schedule) });
  const lists = planLists(targets);
  const handed = await database.read((manager) => findHandedTo(manager, tenantId));
  const concerned = new Set([...lists.keys(), ...handed.keys()]);
  const online = await database.read((manager) => findOnlineBoards(manager, tenantId, [...concerned]));
  return online.flatMap((board) => {
    if (!concerned.has(board.uuid) || rests.has(board.uuid)) return [];
    const list = lists.get(board.uuid) ?? emptyList;
    const has = handed.get(board.uuid);
    const isSame = has?.hash === list.hash && (has.epoch === board.journalEpoch || list === emptyList);
    return isSame ? [] : [{ board, list }];
  });
}

/** A schedule whose target is gone, or whose author has no right to it, has no boards; the others go on. */
async function findBoards(context: TaskContext, tenantId: string, schedule: ScheduleRow): Promise<string[]> {
  const { procedure, kwargs, target } = schedule.operation;
  try {
    const { included } = await context.database.read(async (manager) => {
      const { boards: scopeBoards } = await requireAuthority(manager, deedOf(schedule));
      return resolveTargets(manager, { tenantId, target, scopeBoards, procedure, kwargs });
    });
    if (schedule.lastError !== null) await context.write((manager) => noteError(manager, schedule, null));
    return included.map(({ uuid }) => uuid);
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'unavailable') throw error;
    context.logger.debug(
      { schedule: schedule.id, reason: error.message },
      'an offline schedule has no boards',
    );
    if (schedule.lastError !== error.message.slice(0, 500))
      await context.write((manager) => noteError(manager, schedule, error));
    return [];
  }
}

async function handOut(
  context: TaskContext,
  { relay, rests }: HandOutOptions,
  tenantId: string,
  { board, list }: Wanting,
): Promise<boolean> {
  try {
    await relay.call(
      board.cell,
      {
        boardUuid: board.uuid,
        sessionId: board.sessionId,
        procedure: reservedProcedures.schedules,
        kwargs: { schedules: list.schedules },
        timeoutMs: callTimeoutMs,
        contractsHash: board.contractsHash,
        requestId: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`,
        caller: { kind: 'process', id: 'conductor' },
      },
      { signal: context.signal },
    );
  } catch (error) {
    rests.add(board.uuid);
    context.logger.debug(
      { board: board.uuid, reason: messageOf(error) },
      'a board did not take its schedules',
    );
    return false;
  }
  const { uuid, journalEpoch } = board;
  await context.write((manager) =>
    list === emptyList
      ? forgetHanded(manager, uuid)
      : noteHanded(manager, { boardUuid: uuid, tenantId, hash: list.hash, epoch: journalEpoch }),
  );
  return true;
}
