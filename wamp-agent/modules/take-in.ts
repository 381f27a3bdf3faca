/**
 * What becomes of the devices in a report that the server does not know, in one transaction below the
 * lock of their board's row:
 *
 *   policy create      accepted, so many in a minute; the others as with quarantine
 *   policy quarantine  quarantined, until somebody decides
 *   policy reject      not written down: whoever invents ids fills no table
 *
 * A board that holds one back itself (it was flooded, or knew an older policy) is not overruled.
 */
import type { EntityManager } from 'typeorm';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import {
  countDevices,
  findModulePolicy,
  lockBoardOfModules,
  type ModulePolicy,
  moduleEvent,
  renewModulesVersion,
} from '../../common/db/queries/modules.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { type ModuleReport, type ModuleState, moduleLimits } from '../../common/wamp/modules.ts';
import {
  countFreshlyAccepted,
  type FoundModule,
  findKnownNames,
  insertDiscovered,
} from './report-queries.ts';

export interface TakenIn {
  found: FoundModule[];
  /** Names for which the policy, or the board itself, has no place. */
  rejected: number;
  /** Names that would be too many for the board. */
  withoutRoom: string[];
}

/** Must be the first statements of a transaction. Throws AppError `board-not-found`. */
export async function takeIn(
  manager: EntityManager,
  boardUuid: string,
  reported: readonly ModuleReport[],
): Promise<TakenIn> {
  const isThere = await lockBoardOfModules(manager, boardUuid);
  const policy = isThere ? await findModulePolicy(manager, boardUuid) : undefined;
  if (!policy) throw new AppError('board-not-found', 'this board does not exist');
  const known = await findKnownNames(
    manager,
    boardUuid,
    reported.map((each) => each.name),
  );
  const unknown = reported.filter((each) => !known.has(each.name));
  const wanted = unknown.filter((each) => isWanted(policy, each));
  const rejected = unknown.length - wanted.length;
  if (wanted.length === 0) return { found: [], rejected, withoutRoom: [] };
  const room = Math.max(0, moduleLimits.perBoard - (await countDevices(manager, boardUuid)));
  const withoutRoom = wanted.slice(room).map((each) => each.name);
  const found = await decide(manager, boardUuid, policy, wanted.slice(0, room));
  if (found.length > 0) await write(manager, { uuid: boardUuid, tenantId: policy.tenantId }, found);
  return { found, rejected, withoutRoom };
}

const isWanted = ({ unknownDevices }: ModulePolicy, { state }: ModuleReport) =>
  unknownDevices !== 'reject' && state !== 'rejected';

async function decide(
  manager: EntityManager,
  boardUuid: string,
  { unknownDevices, createPerMinute }: ModulePolicy,
  wanted: readonly ModuleReport[],
): Promise<FoundModule[]> {
  const mayCreate = unknownDevices === 'create' && wanted.length > 0;
  let left = mayCreate ? createPerMinute - (await countFreshlyAccepted(manager, boardUuid)) : 0;
  return wanted.map((each) => {
    const isAccepted = left > 0 && each.state === 'accepted';
    if (isAccepted) left -= 1;
    return { ...each, decided: (isAccepted ? 'accepted' : 'quarantined') satisfies ModuleState };
  });
}

async function write(
  manager: EntityManager,
  board: { uuid: string; tenantId: string },
  found: readonly FoundModule[],
): Promise<void> {
  await insertDiscovered(manager, board, found);
  await renewModulesVersion(manager, board.uuid);
  await recordAudit(
    manager,
    ...found.map((each) => ({
      tenantId: board.tenantId,
      actorKind: 'board' as const,
      actor: board.uuid,
      action: 'discover-module',
      targetKind: 'module',
      target: `${board.uuid}/${each.name}`,
      result: 'ok',
      detail: { state: each.decided, source: each.source },
    })),
  );
  await appendEvents(
    manager,
    found.map((each) =>
      moduleEvent({
        boardUuid: board.uuid,
        tenantId: board.tenantId,
        module: each.name,
        state: each.decided,
        origin: 'discovered',
        change: 'discovered',
      }),
    ),
  );
}
