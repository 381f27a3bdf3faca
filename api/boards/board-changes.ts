/** What changes boards in the database; each function is one step of a transaction. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { wakeBoard } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { endSessions } from '../../common/db/queries/presence.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { createEnrolmentCode, hashEnrolmentCode } from '../../common/runtime/enrolment-code.ts';
import type { Schemas } from '../http/operation.ts';
import { insertRow, updateRow } from '../http/versioned-rows.ts';

const enrolmentCodeHours = 24;
const extraBytes = 16_384;
const labelBatch = 500;

type BoardFields = Omit<Schemas['BoardUpdate'], 'version'>;

/** Columns of the members that are given. Throws AppError `invalid-request` when `extra` is too large. */
function toColumns(fields: BoardFields): Record<string, unknown> {
  const { name, type, mobile, location, extra } = fields;
  const extraText = extra === undefined ? undefined : JSON.stringify(extra);
  if (extraText !== undefined && Buffer.byteLength(extraText) > extraBytes) {
    throw new AppError('invalid-request', 'extra is too large', {
      details: { errors: [{ pointer: '/extra', detail: `must have at most ${extraBytes} bytes` }] },
    });
  }
  return {
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
    ...(mobile !== undefined && { mobile: mobile ? 1 : 0 }),
    ...(extraText !== undefined && { extra: extraText }),
    ...(location !== undefined && {
      latitude: location?.latitude ?? null,
      longitude: location?.longitude ?? null,
      altitude: location?.altitude ?? null,
    }),
  };
}

export async function insertBoard(
  manager: EntityManager,
  tenantId: string,
  fields: BoardFields,
): Promise<string> {
  const uuid = randomUUID();
  await insertRow(manager, 'boards', { uuid, tenant_id: tenantId, ...toColumns(fields) });
  await insertLabels(manager, uuid, tenantId, fields.labels ?? {});
  return uuid;
}

/** Locks the board's row, as the first locking statement, and answers with its version. */
export async function lockBoard(
  manager: EntityManager,
  uuid: string,
): Promise<{ version: number; status: Schemas['BoardStatus'] }> {
  const [row] = (await manager.query('SELECT version, status FROM boards WHERE uuid = ? FOR UPDATE', [
    uuid,
  ])) as {
    version: number;
    status: Schemas['BoardStatus'];
  }[];
  if (!row) throw new AppError('board-not-found', 'there is no such board');
  return row;
}

export async function updateBoardRow(
  manager: EntityManager,
  board: { uuid: string; tenantId: string },
  fields: BoardFields,
): Promise<void> {
  await updateRow(manager, 'boards', { uuid: board.uuid }, toColumns(fields));
  if (fields.labels === undefined) return;
  await manager.query('DELETE FROM board_labels WHERE board_uuid = ?', [board.uuid]);
  await insertLabels(manager, board.uuid, board.tenantId, fields.labels);
}

async function insertLabels(
  manager: EntityManager,
  uuid: string,
  tenantId: string,
  labels: Record<string, string>,
): Promise<void> {
  const rows = Object.entries(labels).map(([name, value]) => [uuid, name, tenantId, value]);
  for (let index = 0; index < rows.length; index += labelBatch) {
    await manager.query('INSERT INTO board_labels (board_uuid, label_key, tenant_id, label_value) VALUES ?', [
      rows.slice(index, index + labelBatch),
    ]);
  }
}

/** Makes a new code; codes of the board that nobody used yet stop working. */
export async function renewEnrolmentCode(
  manager: EntityManager,
  boardUuid: string,
  createdBy: string,
): Promise<{ code: string; expiresAt: Date }> {
  await revokeEnrolmentCodes(manager, boardUuid);
  const code = createEnrolmentCode();
  const now = new Date();
  const expiresAt = new Date(now.getTime() + enrolmentCodeHours * 3_600_000);
  await manager.query(
    'INSERT INTO enrolment_codes (code_hash, board_uuid, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?)',
    [hashEnrolmentCode(code), boardUuid, createdBy, now, expiresAt],
  );
  return { code, expiresAt };
}

async function revokeEnrolmentCodes(manager: EntityManager, boardUuid: string): Promise<void> {
  await manager.query(
    'UPDATE enrolment_codes SET revoked_at = ? WHERE board_uuid = ? AND used_at IS NULL AND revoked_at IS NULL',
    [new Date(), boardUuid],
  );
}

/** Refuses the board from now on: status, keys, codes and live session, and the event that tells it. */
export async function revokeBoardRow(
  manager: EntityManager,
  board: { uuid: string; tenantId: string; name: string },
): Promise<void> {
  const now = new Date();
  await endLiveSession(manager, board.uuid);
  await manager.query(
    "UPDATE boards SET status = 'revoked', version = version + 1, updated_at = ? WHERE uuid = ?",
    [now, board.uuid],
  );
  await manager.query(
    "UPDATE board_credentials SET state = 'revoked', revoked_at = ? WHERE board_uuid = ? AND state <> 'revoked'",
    [now, board.uuid],
  );
  await revokeEnrolmentCodes(manager, board.uuid);
  // What waits for the board has nothing to wait for any more.
  await wakeBoard(manager, board.uuid);
  await appendPresence(manager, board, 'revoked', now);
}

export async function reinstateBoardRow(
  manager: EntityManager,
  board: { uuid: string; tenantId: string; name: string },
): Promise<void> {
  const now = new Date();
  await manager.query(
    "UPDATE boards SET status = 'registered', version = version + 1, updated_at = ? WHERE uuid = ?",
    [now, board.uuid],
  );
  await appendPresence(manager, board, 'registered', now);
}

async function appendPresence(
  manager: EntityManager,
  board: { uuid: string; tenantId: string; name: string },
  status: 'revoked' | 'registered',
  at: Date,
): Promise<void> {
  const reason = status === 'revoked' ? 'revoked' : 'reinstated';
  await appendEvents(manager, [
    {
      tenantId: board.tenantId,
      boardUuid: board.uuid,
      type: 'presence',
      payload: { board: board.uuid, name: board.name, status, reason, at: at.toISOString() },
    },
  ]);
}

/**
 * Deletes the board; labels, keys, codes and contracts go with it. What it measured may be millions
 * of rows: `deleted_boards` tells the conductor to clear them bit by bit.
 */
export async function deleteBoardRow(
  manager: EntityManager,
  board: { uuid: string; tenantId: string },
): Promise<void> {
  await endLiveSession(manager, board.uuid);
  await manager.query('DELETE FROM boards WHERE uuid = ?', [board.uuid]);
  await wakeBoard(manager, board.uuid);
  await manager.query('INSERT INTO deleted_boards (board_uuid, tenant_id, deleted_at) VALUES (?, ?, ?)', [
    board.uuid,
    board.tenantId,
    new Date(),
  ]);
}

/** Its event is not wanted: of a revoked board the caller's own says more, and a deleted one has none to tell. */
async function endLiveSession(manager: EntityManager, boardUuid: string): Promise<void> {
  const live = (await manager.query(
    'SELECT id, board_uuid AS boardUuid FROM board_sessions WHERE board_uuid = ? AND live = 1',
    [boardUuid],
  )) as { id: string; boardUuid: string }[];
  await endSessions(manager, live, 'revoked');
}
