/**
 * Who this board is. `identity.json` holds the private key and is the only thing worth stealing
 * here: mode 0600. `pending-identity.json` holds the key of an enrolment under way, so that an
 * answer lost between server and disk is repaired by enrolling again with the same code.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { asObject, asString, isUuid } from '../../common/runtime/guards.ts';
import { hashToken } from '../../common/runtime/secrets.ts';
import { type EnrolAnswer, parseEnrolAnswer } from '../../common/wamp/agent-procedures.ts';
import { generateKeyPair, type KeyPair, publicKeyOf } from '../session/cryptosign.ts';
import { removeFile, writeFileAtomic } from './atomic-file.ts';

export interface Identity extends EnrolAnswer, KeyPair {}

const secretMode = { mode: 0o600, durable: true } as const;
const hexKey = /^[0-9a-f]{64}$/;

export const identityPath = (stateDir: string) => join(stateDir, 'identity.json');
const pendingPath = (stateDir: string) => join(stateDir, 'pending-identity.json');

/** undefined when the board was never enrolled; throws AppError when the file cannot be used. */
export function findIdentity(stateDir: string): Identity | undefined {
  const path = identityPath(stateDir);
  const content = readIfThere(path);
  return content === undefined ? undefined : parseIdentity(content, path);
}

function parseIdentity(content: string, path: string): Identity {
  try {
    const input = asObject(JSON.parse(content), 'identity');
    const privateKey = asString(input.privateKey, 'privateKey', { max: 64, pattern: hexKey });
    const answer = parseEnrolAnswer(input);
    if (!isUuid(answer.boardUuid)) throw new Error('boardUuid must be a uuid');
    return { ...answer, privateKey, publicKey: publicKeyOf(privateKey) };
  } catch (error) {
    // Without the parser's quotation of what it met: the file holds the private key.
    const reason = error instanceof SyntaxError ? 'it is not JSON' : messageOf(error);
    throw new AppError('invalid-request', `${path} cannot be used: ${reason}`);
  }
}

export function storeIdentity(stateDir: string, identity: Identity): void {
  writeFileAtomic(identityPath(stateDir), `${JSON.stringify(identity, undefined, 2)}\n`, secretMode);
}

/** The key to enrol with: the one of an unfinished enrolment with this code, else a new one, stored first. */
export function preparePendingKey(stateDir: string, code: string): KeyPair {
  const codeHash = hashToken(code);
  const content = readIfThere(pendingPath(stateDir));
  const pending = content === undefined ? undefined : parsePending(content);
  if (pending?.codeHash === codeHash) return pending.keys;
  const keys = generateKeyPair();
  writeFileAtomic(pendingPath(stateDir), JSON.stringify({ ...keys, codeHash }), secretMode);
  return keys;
}

function parsePending(content: string): { codeHash: string; keys: KeyPair } | undefined {
  try {
    const input = asObject(JSON.parse(content), 'pending');
    const privateKey = asString(input.privateKey, 'privateKey', { max: 64, pattern: hexKey });
    const codeHash = asString(input.codeHash, 'codeHash', { max: 64, pattern: hexKey });
    return { codeHash, keys: { privateKey, publicKey: publicKeyOf(privateKey) } };
  } catch {
    // Written atomically, so it was damaged from outside; a new key costs nothing.
    return undefined;
  }
}

export function dropPendingKey(stateDir: string): void {
  removeFile(pendingPath(stateDir));
}

/** Faults of the file's protection, in words; empty when only its owner may read it. */
export function findModeFaults(stateDir: string): string[] {
  const { mode, uid } = statSync(identityPath(stateDir));
  const faults: string[] = [];
  if ((mode & 0o077) !== 0)
    faults.push(`others may read it (mode ${(mode & 0o777).toString(8)}, wanted 600)`);
  if (process.getuid !== undefined && uid !== process.getuid()) faults.push(`it belongs to user ${uid}`);
  return faults;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new AppError('invalid-request', `cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}
