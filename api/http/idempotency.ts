/**
 * Creating once. With an `Idempotency-Key` the answer is stored in the same transaction as what was
 * created, so a crash leaves both or none, and a repeat gets the first answer. The row is inserted
 * before the work: a second request with the same key waits there for the first one's outcome.
 *
 * Answers may hold what is shown only once (a code, a key). They are encrypted under a key derived
 * from the Idempotency-Key itself, of which only a hash is stored.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { isDuplicate } from '../../common/db/fault-kind.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { hashToken } from '../../common/runtime/secrets.ts';
import type { ApiAnswer, ApiRequest, OperationId } from './operation.ts';

const keptHours = 24;

interface Stored {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

/** What every creation answers with: one of the contract's answers of success. */
export type Created<Id extends OperationId> = Extract<ApiAnswer<Id>, { status: 200 | 201 | 202 }>;

/**
 * Runs `work` in a transaction, at most once per key of this principal. Throws AppError
 * `idempotency-conflict` when the key was used for another request.
 */
export async function createOnce<Id extends OperationId>(
  database: Database,
  request: ApiRequest<Id>,
  work: (manager: EntityManager) => Promise<Created<Id>>,
): Promise<Created<Id>> {
  const key = request.header('idempotency-key');
  if (key === undefined) return database.transaction(work);
  const slot = createSlot(request, key);
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await database.transaction(
        async (manager) => {
          await takeSlot(manager, slot);
          const answer = await work(manager);
          await fillSlot(manager, slot, answer);
          return answer;
        },
        // After a commit of unknown outcome the taken key tells what happened.
        { repeatable: true },
      );
    } catch (error) {
      if (!isDuplicate(error, 'PRIMARY') || attempt >= 2) throw error;
      const stored = await database.read((manager) => findStored(manager, slot));
      if (stored) return replay(slot, stored) as unknown as Created<Id>;
      // The row went away meanwhile, or had expired and is cleared now: the next attempt takes the place.
    }
  }
}

/**
 * The first answer, when the request repeats one. For handlers that look at much before they create,
 * outside of the transaction: what they find may have changed since, and a repeat is no matter of it.
 */
export async function findReplay<Id extends OperationId>(
  database: Database,
  request: ApiRequest<Id>,
): Promise<Created<Id> | undefined> {
  const key = request.header('idempotency-key');
  if (key === undefined) return undefined;
  const slot = createSlot(request, key);
  const stored = await database.read((manager) => findStored(manager, slot));
  return stored && (replay(slot, stored) as unknown as Created<Id>);
}

interface Slot {
  key: string;
  principal: string;
  keyHash: string;
  operationId: string;
  requestHash: string;
}

interface StoredRow {
  operationId: string;
  requestHash: string;
  status: number;
  answer: Buffer;
}

function createSlot<Id extends OperationId>(request: ApiRequest<Id>, key: string): Slot {
  const { operationId, path, query, body } = request;
  return {
    key,
    principal: `${request.principal.kind}:${request.principal.id}`,
    keyHash: hashToken(key),
    operationId,
    // Keyed, because a plain hash of a body with a password would let it be guessed quickly.
    requestHash: createHmac('sha256', key)
      .update(canonicalJson([operationId, path, query, body ?? null]))
      .digest('hex'),
  };
}

/** JSON with sorted members: the same request spelled in another order is the same request. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`;
}

async function takeSlot(manager: EntityManager, slot: Slot): Promise<void> {
  const now = new Date();
  await manager.query(
    `INSERT INTO idempotency_keys (principal, key_hash, operation_id, request_hash, status, answer, created_at, expires_at)
     VALUES (?, ?, ?, ?, 0, '', ?, ?)`,
    [
      slot.principal,
      slot.keyHash,
      slot.operationId,
      slot.requestHash,
      now,
      new Date(now.getTime() + keptHours * 3_600_000),
    ],
  );
}

async function fillSlot(manager: EntityManager, slot: Slot, answer: Stored): Promise<void> {
  const { status, headers, body } = answer;
  await manager.query(
    'UPDATE idempotency_keys SET status = ?, answer = ? WHERE principal = ? AND key_hash = ?',
    [status, seal(slot, JSON.stringify({ headers, body })), slot.principal, slot.keyHash],
  );
}

/** The stored answer; an expired one is cleared. */
async function findStored(manager: EntityManager, slot: Slot): Promise<StoredRow | undefined> {
  const where = 'WHERE principal = ? AND key_hash = ?';
  const values = [slot.principal, slot.keyHash];
  await manager.query(`DELETE FROM idempotency_keys ${where} AND expires_at <= UTC_TIMESTAMP(3)`, values);
  const [row] = (await manager.query(
    `SELECT operation_id AS operationId, request_hash AS requestHash, status, answer FROM idempotency_keys ${where}`,
    values,
  )) as StoredRow[];
  return row;
}

function replay(slot: Slot, row: StoredRow): Stored {
  if (row.operationId !== slot.operationId || row.requestHash !== slot.requestHash)
    throw new AppError('idempotency-conflict', 'this Idempotency-Key was used for another request');
  const { headers, body } = JSON.parse(unseal(slot, row.answer)) as Omit<Stored, 'status'>;
  return { status: row.status, headers: { ...headers, 'Idempotency-Replayed': 'true' }, body };
}

const ivLength = 12;
const tagLength = 16;

function encryptionKey(slot: Slot): Buffer {
  return Buffer.from(hkdfSync('sha256', slot.key, slot.principal, 'boardwalk idempotent answer', 32));
}

function seal(slot: Slot, text: string): Buffer {
  const iv = randomBytes(ivLength);
  const cipher = createCipheriv('aes-256-gcm', encryptionKey(slot), iv);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]);
}

function unseal(slot: Slot, sealed: Buffer): string {
  const decipher = createDecipheriv('aes-256-gcm', encryptionKey(slot), sealed.subarray(0, ivLength));
  decipher.setAuthTag(sealed.subarray(ivLength, ivLength + tagLength));
  return decipher.update(sealed.subarray(ivLength + tagLength), undefined, 'utf8') + decipher.final('utf8');
}
