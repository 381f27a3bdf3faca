/**
 * Brings an operation's files to the server, one chunk at a time, each file from where the server
 * already has it. A file that the server refuses or that is gone is left out; the outcome must not
 * wait for it for ever.
 */
import type { FileHandle } from 'node:fs/promises';
import { AppError, type ErrorCode, messageOf } from '../../common/runtime/app-error.ts';
import {
  type ArtifactAnswer,
  type ArtifactChunk,
  type ArtifactReport,
  parseArtifactAnswer,
} from '../../common/wamp/artifacts.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import type { ArtifactStore } from './artifacts.ts';
import type { Entry } from './entry.ts';
import { parseAnswer } from './parse-answer.ts';

export interface UploadOptions {
  files: Pick<ArtifactStore, 'open'>;
  /** Calls the server; rejects with an AppError. */
  put: (chunk: ArtifactChunk, timeoutMs: number) => Promise<unknown>;
}

export interface Uploaded {
  kept: ArtifactReport[];
  /** Of the kept ones among the files on disk. */
  places: number[];
  /** One sentence per file that stays out. */
  refused: string[];
}

const chunkTimeoutMs = 60_000;
/** Answers in a row that bring the file no further: then it is a failure like others. */
const standstills = 3;
/** What asking again does not change. */
const finalCodes: readonly ErrorCode[] = [
  'invalid-arguments',
  'invalid-request',
  'payload-too-large',
  'quota-exceeded',
  'forbidden',
  'not-found',
  'conflict',
  'operation-ended',
];

/** Throws AppError when it has to be tried again. */
export async function upload(entry: Entry, options: UploadOptions, signal: AbortSignal): Promise<Uploaded> {
  const outcome: Uploaded = { kept: [], places: [], refused: [] };
  for (const [index, artifact] of (entry.artifacts ?? []).entries()) {
    const place = entry.places?.[index] ?? index;
    const fault = await uploadOne(entry, artifact, place, options, signal);
    if (fault === undefined) {
      outcome.kept.push(artifact);
      outcome.places.push(place);
    } else outcome.refused.push(`file '${artifact.name}' is not with the server: ${fault}`);
  }
  return outcome;
}

/** Answers with why the file stays out. */
async function uploadOne(
  entry: Entry,
  artifact: ArtifactReport,
  place: number,
  options: UploadOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await options.files.open(entry.operationId, place);
  } catch (error) {
    return messageOf(error);
  }
  try {
    await sendFile(entry, artifact, file, options, signal);
    return undefined;
  } catch (error) {
    if (error instanceof AppError && finalCodes.includes(error.code)) return error.message;
    throw error;
  } finally {
    await file.close();
  }
}

async function sendFile(
  { operationId, attempt, schedule }: Entry,
  artifact: ArtifactReport,
  file: FileHandle,
  { put }: UploadOptions,
  signal: AbortSignal,
): Promise<void> {
  // The server may not know yet what the board ran by itself.
  const request = { operationId, attempt, artifact, ...(schedule && { schedule }) };
  const ask = async (chunk: Pick<ArtifactChunk, 'offset' | 'data'>): Promise<ArtifactAnswer> => {
    if (signal.aborted) throw new AppError('unavailable', 'offline');
    return parseAnswer(await put({ ...request, ...chunk }, chunkTimeoutMs), parseArtifactAnswer);
  };
  const buffer = Buffer.alloc(operationLimits.chunkBytes);
  let answer = await ask({ offset: 0 });
  for (let still = 0; !answer.complete; ) {
    const before = answer.received;
    const { bytesRead } = await file.read(buffer, 0, buffer.length, before);
    answer = await ask({ offset: before, data: buffer.toString('base64', 0, bytesRead) });
    still = answer.received > before || answer.complete ? 0 : still + 1;
    if (still >= standstills && answer.received >= artifact.size)
      throw new AppError('conflict', 'the server has all bytes of it, and they are not what was announced');
    if (still >= standstills)
      throw new AppError('unavailable', `the server has ${answer.received} bytes of it and takes no more`);
    // Calls of the board get their turn in between.
    await new Promise((resolve) => setImmediate(resolve));
  }
}
