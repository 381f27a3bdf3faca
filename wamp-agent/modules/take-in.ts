/**
 * What becomes of the devices in a report that the server does not know, in one transaction below the
 * lock of their board's row:
 *
 *   policy create      accepted, so many in a minute; the others as with quarantine
 *   policy quarantine  quarantined, until somebody decides, as far as there is a place (places.ts)
 *   policy reject      not written down: whoever invents ids fills no table
 *
 * A board that holds one back itself (it was flooded, or knew an older policy) is not overruled. One that
 * it refuses, because it found no place before, is quarantined when there is one.
 */
import type { EntityManager } from 'typeorm';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import {
  countDevices,
  findModulePolicy,
  lockBoardOfModules,
  type ModuleChange,
  type ModulePolicy,
  moduleEvent,
  renewModulesVersion,
} from '../../common/db/queries/modules.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { type ModuleReport, type ModuleState, moduleLimits } from '../../common/wamp/modules.ts';
import { findQuietStrangers, forgetStrangers, type Placed, placeAll } from './places.ts';
import {
  countFreshlyAccepted,
  type FoundModule,
  findKnownNames,
  insertDiscovered,
} from './report-queries.ts';

export interface TakenIn extends Placed {
  /** How many the policy does not want. */
  rejected: number;
}

/**
 * Must be the first statements of a transaction. Throws AppError `board-not-found`.
 * @param version of the decisions that the board holds
 */
export async function takeIn(
  manager: EntityManager,
  boardUuid: string,
  reported: readonly ModuleReport[],
  version: string | undefined,
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
  // A board that refuses one by older decisions is told of the new ones first.
  const isWanted = ({ state }: ModuleReport) =>
    policy.unknownDevices !== 'reject' && (state !== 'rejected' || version === policy.version);
  const wanted = unknown.filter(isWanted);
  const rejected = unknown.length - wanted.length;
  if (wanted.length === 0) return { found: [], forgotten: [], withoutRoom: [], rejected };
  const decided = await decide(manager, boardUuid, policy, wanted);
  const counts = await countDevices(manager, boardUuid);
  const isTight =
    counts.devices + decided.length > moduleLimits.perBoard ||
    counts.strangers + decided.length > moduleLimits.strangers;
  const quiet = isTight ? await findQuietStrangers(manager, boardUuid, decided.length) : [];
  const placed = placeAll(decided, counts, quiet);
  if (placed.found.length > 0) await write(manager, { uuid: boardUuid, tenantId: policy.tenantId }, placed);
  return { ...placed, rejected };
}

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
  { found, forgotten }: Placed,
): Promise<void> {
  const { tenantId, uuid: boardUuid } = board;
  await forgetStrangers(manager, boardUuid, forgotten);
  await insertDiscovered(manager, board, found);
  await renewModulesVersion(manager, boardUuid);
  const auditOf = (action: string, name: string, detail: JsonObject) => ({
    tenantId,
    actorKind: 'board' as const,
    actor: boardUuid,
    action,
    targetKind: 'module',
    target: `${boardUuid}/${name}`,
    result: 'ok',
    detail,
  });
  await recordAudit(
    manager,
    ...forgotten.map((name) => auditOf('forget-module', name, { reason: 'gave way to a newcomer' })),
    ...found.map((each) =>
      auditOf('discover-module', each.name, { state: each.decided, source: each.source }),
    ),
  );
  const eventOf = (module: string, state: ModuleState, change: ModuleChange) =>
    moduleEvent({ boardUuid, tenantId, module, state, origin: 'discovered', change });
  await appendEvents(manager, [
    ...forgotten.map((name) => eventOf(name, 'quarantined', 'forgotten')),
    ...found.map((each) => eventOf(each.name, each.decided, 'discovered')),
  ]);
}
