/**
 * The modules that a hello declares, beside those that were discovered or created. Runs below the
 * lock of the board's row.
 *
 *   declared, unknown          a row, accepted: the gateway's own settings name it
 *   declared, known otherwise  becomes declared and keeps its state: declaring overrules no decision
 *   no longer declared         a device that was heard goes on as discovered, one that somebody decided
 *                              about as created, with their counts and state; else the row goes
 */
import type { EntityManager } from 'typeorm';
import type { ModuleOrigin } from '../../common/db/entities/modules.ts';
import { renewModulesVersion } from '../../common/db/queries/modules.ts';
import type { ModuleDeclaration } from '../../common/wamp/agent-procedures.ts';
import { moduleLimits } from '../../common/wamp/modules.ts';
import { deleteNamed } from './hello-queries.ts';

interface KnownModule {
  name: string;
  description: string | null;
  origin: ModuleOrigin;
  isReported: number;
  isDecided: number;
}

export async function replaceModules(
  manager: EntityManager,
  board: { uuid: string; tenantId: string },
  modules: readonly ModuleDeclaration[],
): Promise<void> {
  const rows = (await manager.query(
    `SELECT name, description, origin, reported_at IS NOT NULL AS isReported, decided_by IS NOT NULL AS isDecided
     FROM modules WHERE board_uuid = ?`,
    [board.uuid],
  )) as KnownModule[];
  const known = new Map(rows.map((each) => [each.name, each]));
  const isGone = await letGo(manager, board.uuid, rows, new Set(modules.map((each) => each.name)));
  const isNew = modules.some(({ name }) => !known.has(name));
  await writeDeclared(
    manager,
    board,
    modules.filter(({ name, description = null }) => {
      const row = known.get(name);
      return row?.origin !== 'declared' || row.description !== description;
    }),
  );
  if (isGone || isNew) await renewModulesVersion(manager, board.uuid);
}

async function writeDeclared(
  manager: EntityManager,
  board: { uuid: string; tenantId: string },
  modules: readonly ModuleDeclaration[],
): Promise<void> {
  if (modules.length === 0) return;
  const now = new Date();
  await manager.query(
    `INSERT INTO modules (board_uuid, name, tenant_id, origin, description, created_at, updated_at) VALUES ?
     ON DUPLICATE KEY UPDATE origin = VALUES(origin), description = VALUES(description), updated_at = VALUES(updated_at)`,
    [
      modules.map((each) => [
        board.uuid,
        each.name,
        board.tenantId,
        'declared',
        each.description ?? null,
        now,
        now,
      ]),
    ],
  );
}

/** Those that are no longer declared; true when rows were deleted. */
async function letGo(
  manager: EntityManager,
  boardUuid: string,
  rows: readonly KnownModule[],
  declared: ReadonlySet<string>,
): Promise<boolean> {
  const undeclared = rows.filter((each) => each.origin === 'declared' && !declared.has(each.name));
  // What goes on counts among the board's devices, of which there are only so many.
  let room =
    moduleLimits.perBoard -
    rows.filter((each) => each.origin !== 'declared' && !declared.has(each.name)).length;
  const isKept = (each: KnownModule) => (each.isReported === 1 || each.isDecided === 1) && room-- > 0;
  const kept = new Set(undeclared.filter(isKept));
  await moveTo(manager, boardUuid, 'discovered', [...kept].filter(wasHeard));
  await moveTo(
    manager,
    boardUuid,
    'created',
    [...kept].filter((each) => !wasHeard(each)),
  );
  const gone = undeclared.filter((each) => !kept.has(each)).map((each) => each.name);
  await deleteNamed(manager, 'modules', boardUuid, gone);
  return gone.length > 0;
}

const wasHeard = (each: KnownModule) => each.isReported === 1;

async function moveTo(
  manager: EntityManager,
  boardUuid: string,
  origin: ModuleOrigin,
  modules: readonly KnownModule[],
): Promise<void> {
  if (modules.length === 0) return;
  await manager.query(
    'UPDATE modules SET origin = ?, updated_at = UTC_TIMESTAMP(3) WHERE (board_uuid, name) IN (?)',
    [origin, modules.map((each) => [boardUuid, each.name])],
  );
}
