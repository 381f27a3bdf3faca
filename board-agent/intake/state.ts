/** Everything that the intake knows, as it is on disk: read once from each spool file. */
import type { DatabaseSync } from 'node:sqlite';
import type { ReadingType } from '../../common/wamp/readings.ts';
import { prepared } from '../state/sqlite-file.ts';
import { loadCounts, type SourceCounts } from './counts.ts';
import { type LetterTotals, loadTotals } from './dead-letters.ts';
import { type Decisions, loadDecisions } from './decisions.ts';
import { type Device, loadDevices } from './devices.ts';
import { loadTransmissions, type Transmissions } from './transmissions.ts';

export interface IntakeState {
  /** The file that it was read from: another one means another state. */
  db: DatabaseSync;
  devices: Map<string, Device>;
  decisions: Decisions;
  counts: Map<string, SourceCounts>;
  streams: Map<string, ReadingType>;
  streamsOfModule: Map<string, number>;
  letters: LetterTotals;
  transmissions: Transmissions;
  /** When old transmissions were deleted last. */
  trimmedAt: number;
  /** When devices were created by policy, in the last minute; monotonic. */
  createdAtMs: number[];
}

export function loadState(db: DatabaseSync, now: number): IntakeState {
  const streams = new Map<string, ReadingType>();
  for (const row of prepared(db, 'SELECT name, type FROM streams ORDER BY id').iterate())
    streams.set(String(row.name), row.type as ReadingType);
  const streamsOfModule = new Map<string, number>();
  for (const name of streams.keys()) countStream(streamsOfModule, name);
  return {
    db,
    devices: loadDevices(db),
    decisions: loadDecisions(db),
    counts: loadCounts(db),
    streams,
    streamsOfModule,
    letters: loadTotals(db),
    transmissions: loadTransmissions(db, now),
    trimmedAt: 0,
    createdAtMs: [],
  };
}

export const moduleOf = (stream: string): string => stream.slice(0, stream.indexOf('/'));

export function countStream(streamsOfModule: Map<string, number>, stream: string): void {
  const module = moduleOf(stream);
  streamsOfModule.set(module, (streamsOfModule.get(module) ?? 0) + 1);
}
