/** From stored rows to a batch that keeps to the limits of the wire. */
import type { DatabaseSync } from 'node:sqlite';
import {
  type ReadingsBatch,
  type ReadingTuple,
  type ReadingType,
  type ReadingValue,
  readingsLimits,
  type StreamDeclaration,
} from '../../common/wamp/readings.ts';
import { prepared } from '../state/sqlite-file.ts';
import type { SpoolState } from './database.ts';

interface Row {
  seq: number;
  at: number;
  value: number | string;
  stream: number;
  name: string;
  type: ReadingType;
  unit: string;
}

/** Bytes of a batch beside its streams and readings, and of a reading beside its numbers and its value. */
const envelopeBytes = 300;
const punctuationBytes = '[,,],'.length;

/** SQLite has no boolean. */
export function toStored(value: ReadingValue): number | string {
  return typeof value === 'boolean' ? Number(value) : value;
}

function fromStored(type: ReadingType, value: number | string): ReadingValue {
  return type === 'boolean' ? value === 1 : value;
}

/** The oldest readings without a hole between them; undefined when nothing waits. */
export function readBatch(
  db: DatabaseSync,
  state: SpoolState,
  maxReadings: number,
): ReadingsBatch | undefined {
  const rows = prepared(
    db,
    `SELECT seq, at, value, stream, name, type, unit FROM readings JOIN streams ON streams.id = stream
       WHERE seq > ? ORDER BY seq LIMIT ?`,
  ).all(state.ackedSeq, Math.min(maxReadings, readingsLimits.batchReadings)) as unknown as Row[];
  const first = rows[0];
  if (!first) return undefined;

  const streams: StreamDeclaration[] = [];
  const indexes = new Map<number, number>();
  const readings: ReadingTuple[] = [];
  let bytes = envelopeBytes;
  for (const row of rows) {
    if (row.seq !== first.seq + readings.length) break;
    const known = indexes.get(row.stream);
    const index = known ?? streams.length;
    const value = fromStored(row.type, row.value);
    bytes += `${index}${row.at}`.length + punctuationBytes + valueBytes(value);
    let declaration: StreamDeclaration | undefined;
    if (known === undefined) {
      if (streams.length === readingsLimits.batchStreams) break;
      declaration = { name: row.name, type: row.type, unit: row.unit };
      bytes += jsonBytes(declaration);
    }
    if (bytes > readingsLimits.batchBytes && readings.length > 0) break;
    if (declaration) indexes.set(row.stream, streams.push(declaration) - 1);
    readings.push([index, row.at, value]);
  }
  const reason = first.seq > state.ackedSeq + 1 ? lossReason(db, state.ackedSeq, first.seq) : undefined;
  return { epoch: state.epoch, from: first.seq, streams, readings, ...(reason && { lost: { reason } }) };
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value)) + 1;
}

/** As JSON: only texts are dear to measure. */
function valueBytes(value: ReadingValue): number {
  return typeof value === 'string' ? jsonBytes(value) - 1 : String(value).length;
}

function lossReason(db: DatabaseSync, ackedSeq: number, before: number): string {
  const reasons = prepared(
    db,
    'SELECT DISTINCT reason FROM gaps WHERE to_seq > ? AND from_seq < ? ORDER BY from_seq',
  )
    .all(ackedSeq, before)
    .map((row) => String(row.reason));
  return reasons.length > 0 ? reasons.join(', ') : 'unknown';
}
