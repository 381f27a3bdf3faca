/**
 * `boardwalk.agent.enrol`: a one-time code for a registered public key. The same code with the same
 * key gives the same answer while the code lives, so that a board that lost the answer can repeat.
 */

import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { hashEnrolmentCode } from '../../common/runtime/enrolment-code.ts';
import { shuffled } from '../../common/runtime/shuffled.ts';
import type { EnrolAnswer, EnrolRequest } from '../../common/wamp/agent-procedures.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import { enroleeAuthidOf } from '../auth/authenticator.ts';
import type { JoinMemory } from '../auth/joins.ts';
import type { Settings } from '../settings.ts';
import {
  type EnrollingBoard,
  findCredential,
  findEnrollingBoard,
  insertCredential,
  lockCode,
  spendCode,
} from './queries.ts';

export interface EnrolOptions {
  database: Database;
  realm: string;
  boardUrls: readonly string[];
  settings: Settings;
  joins: JoinMemory;
}

type Enrolled = EnrollingBoard & { uuid: string };

export function createEnrol(options: EnrolOptions) {
  const { database } = options;

  return async (request: EnrolRequest, caller: Caller): Promise<EnrolAnswer> => {
    const codeHash = hashEnrolmentCode(request.code);
    // The code that let the session in, and no other: guessing happens at the door, where it is counted.
    if (caller.authid !== enroleeAuthidOf(codeHash))
      throw new AppError('enrolment-code-invalid', 'this is not the code that the session joined with');
    const address = options.joins.find(caller.wampSession)?.address;
    const board = await database.transaction((manager) => enrol(manager, request, codeHash, address), {
      repeatable: true,
    });
    return {
      boardUuid: board.uuid,
      boardName: board.name,
      tenantId: board.tenantId,
      realm: options.realm,
      routerUrls: shuffled(options.boardUrls),
      settings: options.settings.forBoard(board.uuid),
    };
  };
}

async function enrol(
  manager: EntityManager,
  { publicKey, facts }: EnrolRequest,
  codeHash: string,
  address: string | undefined,
): Promise<Enrolled> {
  const code = await lockCode(manager, codeHash);
  if (!code || code.revoked) throw new AppError('enrolment-code-invalid', 'this code is not valid');
  if (code.expired) throw new AppError('enrolment-code-expired', 'this code has expired');
  if (code.usedPublicKey !== null && code.usedPublicKey !== publicKey)
    throw new AppError('enrolment-code-used', 'this code was used by another key');
  const board = await findEnrollingBoard(manager, code.boardUuid);
  if (!board) throw new AppError('enrolment-code-invalid', 'this code is not valid');
  if (board.status === 'revoked') throw new AppError('board-revoked', 'this board is revoked');
  const known = await findCredential(manager, publicKey);
  if (known && (known.boardUuid !== code.boardUuid || known.state === 'revoked'))
    throw new AppError('invalid-arguments', 'publicKey is or was in use: make a new one', {
      details: { field: 'publicKey' },
    });
  if (!known) await insertCredential(manager, code.boardUuid, publicKey, facts);
  if (code.usedPublicKey === null) {
    await spendCode(manager, codeHash, publicKey);
    await recordAudit(manager, {
      tenantId: board.tenantId,
      actorKind: 'enrolee',
      actor: board.name,
      action: 'enrol',
      targetKind: 'board',
      target: code.boardUuid,
      remoteAddress: address,
      result: 'ok',
      detail: { ...facts, publicKey },
    });
  }
  return { ...board, uuid: code.boardUuid };
}
