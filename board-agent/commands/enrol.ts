/**
 * `boardwalk-agent enrol`: a one-time code becomes an identity. The key is on disk before the
 * server hears of it, so that an enrolment cut off at any point is finished by doing it again.
 */
import { mkdirSync } from 'node:fs';
import type { ErrorCode } from '../../common/runtime/app-error.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { withRetry } from '../../common/runtime/backoff.ts';
import { type EnrolAnswer, type EnrolRequest, parseEnrolAnswer } from '../../common/wamp/agent-procedures.ts';
import { agentUris, enroleeAuthid } from '../../common/wamp/uris.ts';
import { systemClock } from '../clock.ts';
import { readBoardFacts } from '../host/facts.ts';
import { isRefusal, openLink } from '../session/link.ts';
import {
  dropPendingKey,
  findIdentity,
  type Identity,
  preparePendingKey,
  storeIdentity,
} from '../state/identity.ts';
import { acquireLock } from '../state/instance-lock.ts';

export interface EnrolOptions {
  stateDir: string;
  urls: readonly string[];
  code: string;
  realm: string;
  /** Told to the server instead of the host's own name. */
  hostname?: string;
  /** Called with what is worth a line on the way. */
  say: (line: string) => void;
  /** How long to wait for a router whose server is not there yet. */
  patienceMs?: number;
}

const joinTimeoutMs = 90_000;
const callTimeoutMs = 30_000;
const defaultPatienceMs = 30_000;

/** Throws AppError whose message is one clear sentence. */
export async function enrol(options: EnrolOptions): Promise<Identity> {
  const { stateDir, code, say } = options;
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const lock = acquireLock(stateDir, 'enrol');
  try {
    const previous = findPrevious(stateDir, say);
    const keys = preparePendingKey(stateDir, code);
    const facts = {
      ...readBoardFacts(),
      ...(options.hostname !== undefined && { hostname: options.hostname }),
    };
    const request: EnrolRequest = { code, publicKey: keys.publicKey, facts };
    const answer = await askAny(options, request);
    const identity: Identity = { ...answer, ...keys };
    storeIdentity(stateDir, identity);
    dropPendingKey(stateDir);
    if (previous && previous.boardUuid !== identity.boardUuid)
      say(`This was board ${previous.boardName} (${previous.boardUuid}) before.`);
    return identity;
  } finally {
    lock.release();
  }
}

/** An identity that cannot be read is no reason not to get a new one. */
function findPrevious(stateDir: string, say: (line: string) => void): Identity | undefined {
  try {
    return findIdentity(stateDir);
  } catch (error) {
    say(`The identity that was here could not be read: ${String(error)}`);
    return undefined;
  }
}

/** Asks the routers in turn; what is not a refusal is tried again until the patience ends. */
async function askAny(options: EnrolOptions, request: EnrolRequest): Promise<EnrolAnswer> {
  return withRetry(
    async (attempt) => {
      const failures: string[] = [];
      for (const url of options.urls) {
        try {
          return await ask(url, options, request);
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'unavailable') throw error;
          failures.push(`${url}: ${error.message}`);
        }
      }
      if (attempt === 0) options.say(`Not yet (${failures.join('; ')}), trying again …`);
      throw new AppError('unavailable', `no router could be asked: ${failures.join('; ')}`);
    },
    {
      baseMs: 1000,
      capMs: 5000,
      deadlineMs: options.patienceMs ?? defaultPatienceMs,
      retryable: (error) => error instanceof AppError && error.code === 'unavailable',
    },
  );
}

async function ask(url: string, options: EnrolOptions, request: EnrolRequest): Promise<EnrolAnswer> {
  const link = await openLink({
    url,
    realm: options.realm,
    clock: systemClock,
    joinTimeoutMs,
    authentication: { method: 'ticket', authid: enroleeAuthid, ticket: options.code },
  });
  if (isRefusal(link)) throw explain(link.kind === 'refused' ? link.code : 'unavailable', link.message);
  try {
    return parseEnrolAnswer(await link.call(agentUris.enrol, request, callTimeoutMs));
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw explain(error.code, error.message);
  } finally {
    await link.leave();
  }
}

const sentences: Partial<Record<ErrorCode, string>> = {
  'enrolment-code-invalid': 'The server does not know this enrolment code: check it, or ask for a new one.',
  'enrolment-code-used': 'This enrolment code has been used already: ask for a new one.',
  'enrolment-code-expired': 'This enrolment code has expired: ask for a new one.',
  'board-revoked': 'The board of this code is revoked: an administrator has to allow it again first.',
  'too-many-requests': 'The server has seen too many attempts: wait a minute and try again.',
};

/** Codes that mean "ask again": the server behind the router was not there or did not finish. */
const passing: readonly (ErrorCode | undefined)[] = [
  'unavailable',
  'procedure-not-found',
  'deadline-exceeded',
  'internal',
];

function explain(code: ErrorCode | undefined, message: string): AppError {
  if (passing.includes(code)) return new AppError('unavailable', message);
  const sentence = code && sentences[code];
  return new AppError(code ?? 'not-authorized', sentence ?? `The server refused the enrolment: ${message}`);
}
