/** Files that boards send as results of operations, in chunks: `boardwalk.agent.put_artifact`. */
import { asBoolean, asInteger, asObject, asString, optional } from '../runtime/guards.ts';
import { parseScheduleRef, type ScheduleRef } from './board-schedules.ts';
import { asAttempt, asUuid, operationLimits } from './operation-limits.ts';

const hex64 = /^[0-9a-f]{64}$/;

export interface ArtifactReport {
  name: string;
  mediaType: string;
  /** Bytes. */
  size: number;
  /** Lower-case hex. */
  sha256: string;
}

/** kwargs of `boardwalk.agent.put_artifact`. `data` absent = only asks where to go on. */
export interface ArtifactChunk {
  operationId: string;
  attempt: number;
  artifact: ArtifactReport;
  offset: number;
  /** base64 */
  data?: string;
  /** Of an offline schedule: the files come before the outcome, which makes the operation known. */
  schedule?: ScheduleRef;
}

export interface ArtifactAnswer {
  /** Bytes that the server has in a row: the next chunk begins there. */
  received: number;
  /** All bytes are there and their hash is right. */
  complete: boolean;
}

const maxChunkText = Math.ceil(operationLimits.chunkBytes / 3) * 4;

export function parseArtifact(value: unknown, field: string): ArtifactReport {
  const input = asObject(value, field, ['name', 'mediaType', 'size', 'sha256']);
  return {
    name: asString(input.name, `${field}.name`, { max: 100, pattern: /^[^/\\]+$/ }),
    mediaType: asString(input.mediaType, `${field}.mediaType`, {
      max: 100,
      pattern: /^[a-z0-9.+-]+\/[a-z0-9.+-]+$/i,
    }),
    size: asInteger(input.size, `${field}.size`, { min: 0, max: operationLimits.artifactBytes }),
    sha256: asString(input.sha256, `${field}.sha256`, { min: 64, max: 64, pattern: hex64 }),
  };
}

export function parseArtifactChunk(value: unknown): ArtifactChunk {
  const input = asObject(value, 'kwargs', [
    'operationId',
    'attempt',
    'artifact',
    'offset',
    'data',
    'schedule',
  ]);
  const data = optional(input.data, (v) =>
    asString(v, 'data', { min: 0, max: maxChunkText, pattern: /^[A-Za-z0-9+/]*={0,2}$/ }),
  );
  const schedule = optional(input.schedule, (v) => parseScheduleRef(v, 'schedule'));
  return {
    operationId: asUuid(input.operationId, 'operationId'),
    attempt: asAttempt(input.attempt, 'attempt'),
    artifact: parseArtifact(input.artifact, 'artifact'),
    offset: asInteger(input.offset, 'offset', { min: 0, max: operationLimits.artifactBytes }),
    ...(data !== undefined && { data }),
    ...(schedule && { schedule }),
  };
}

export function parseArtifactAnswer(value: unknown): ArtifactAnswer {
  const input = asObject(value, 'answer');
  return {
    received: asInteger(input.received, 'received', { min: 0, max: operationLimits.artifactBytes }),
    complete: asBoolean(input.complete, 'complete'),
  };
}
