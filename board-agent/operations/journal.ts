/**
 * What this board was asked to do, and how it ended: the memory that makes it safe to send an
 * operation again.
 *
 *   put → in memory → (commit, or a few seconds later) on disk → acknowledged → kept for repeats → dropped
 *
 * Whoever promises something calls `commit` first: the runner before a procedure that must not run
 * twice begins, before its outcome is told, and before anything is called waiting or running. The
 * outcome of an idempotent procedure may be told before: when it is lost with the process, the server
 * sends the attempt again and it runs again, which is harmless by its contract. So a quick idempotent
 * operation costs one flush of the disk, shared with others, and mostly after it was acknowledged.
 */
import { randomUUID } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { BoardSchedule } from '../../common/wamp/board-schedules.ts';
import type { Clock } from '../clock.ts';
import { isFull, usedBytes, vacuum } from '../state/sqlite-file.ts';
import { createSqliteStore } from '../state/sqlite-store.ts';
import { type Entry, isEnded } from './entry.ts';
import * as file from './journal-file.ts';

export interface JournalOptions {
  path: string;
  boardUuid: string;
  clock: Clock;
  /** The server's clock. */
  serverNow: () => number;
  logger: Logger;
  /** What could not be written before is on disk now. */
  onRecovered?: () => void;
  /** The file was replaced: what is not in memory is forgotten, and the server has to hear of it. */
  onNewEpoch?: () => void;
}

export interface JournalStats {
  epoch: string;
  /** Ended, and not acknowledged by the server. */
  unacknowledged: number;
  bytes: number;
  fault?: string;
  setAside?: string;
}

export interface Journal {
  epoch(): string;
  since(): number;
  /** The server's clock has become known. */
  confirmSince(): void;
  /** Throws AppError `unavailable` when the file cannot be read. */
  find(id: string): Entry | undefined;
  /** Keeps the entry in memory; it is written with the next commit, at the latest in some seconds. */
  put(entry: Entry): void;
  /** Takes back what was put and not committed. */
  forget(id: string): void;
  /** Writes what was put. False = the disk does not take it, and it is tried again later. */
  commit(): boolean;
  isStored(id: string): boolean;
  /** False while so much waits for the disk that no more is taken. */
  hasRoom(): boolean;
  acknowledge(id: string, attempt: number): void;
  /** Ended and not acknowledged, oldest first. Nothing may be put while it is walked through. */
  unacknowledged(): Iterable<Entry>;
  /** Waiting or running, as an earlier process left them. */
  unfinished(): Entry[];
  schedules(): file.StoredSchedule[];
  /** False when the disk does not take it. */
  replaceSchedules(schedules: readonly BoardSchedule[]): boolean;
  /** Due times of the schedule up to `until` are done with; counts with the next commit. */
  noteFired(scheduleId: string, until: number): void;
  stats(): JournalStats;
  close(): void;
}

export const journalLimits = {
  /** An outcome that may be told before it is on disk gets there within this time. */
  writeDelayMs: 5000,
  /** Acknowledgements that may wait for the disk. */
  acknowledgements: 500,
  /** JSON text that may wait for the disk before it is written at once, and before nothing is taken. */
  eagerBytes: 1_048_576,
  fullBytes: 4_194_304,
  kept: { keepMs: 7 * 86_400_000, entries: 10_000, bytes: 67_108_864 },
} as const;

const retryDiskMs = 2000;
const pruneEveryMs = 60_000;
const pageSize = 50;
const reserveBytes = 524_288;

export function createJournal(options: JournalOptions): Journal {
  const { path, boardUuid, clock, logger, serverNow } = options;
  const store = createSqliteStore({ path, name: 'journal', open, reserveBytes, clock, logger });
  let state: file.JournalState = { epoch: randomUUID(), since: clock.now(), sinceConfirmed: false };
  /** Put and not written. */
  const dirty = new Map<string, { entry: Entry; text: string }>();
  const acknowledged = new Set<string>();
  const fired = new Map<string, number>();
  let dirtyBytes = 0;
  let stateChanged = false;
  let cancelWrite: (() => void) | undefined;
  let prunedAtMs = Number.NEGATIVE_INFINITY;
  /** Somebody may have been told the epoch. */
  let announced = false;

  function open(): DatabaseSync {
    const { db, state: found } = file.openJournal(path, boardUuid, clock.now());
    const changed = found.epoch !== state.epoch;
    state = found;
    if (changed && announced) queueMicrotask(() => options.onNewEpoch?.());
    return db;
  }

  function write(db: DatabaseSync): file.JournalState {
    const next = { ...state };
    file.writeEntries(db, dirty.values());
    file.writeAcknowledgements(db, acknowledged);
    file.writeFired(db, fired);
    if (clock.monotonicMs() - prunedAtMs >= pruneEveryMs) {
      prunedAtMs = clock.monotonicMs();
      const moved = file.pruneAcknowledged(db, journalLimits.kept, usedBytes, serverNow());
      next.since = Math.max(next.since, moved ?? 0);
    }
    if (stateChanged || next.since !== state.since) file.writeState(db, next);
    return next;
  }

  function writeMakingRoom(): boolean {
    store.ensureOpen();
    try {
      state = store.transaction(write);
    } catch (error) {
      if (!isFull(error)) throw error;
      store.makeRoom();
      state = store.transaction(write);
    }
    return true;
  }

  function commit(): boolean {
    if (dirty.size + acknowledged.size + fired.size === 0 && !stateChanged) return true;
    cancelWrite?.();
    cancelWrite = undefined;
    const failedBefore = store.fault() !== undefined;
    if (!store.guard(writeMakingRoom, false)) {
      scheduleWrite(retryDiskMs);
      return false;
    }
    dirty.clear();
    acknowledged.clear();
    fired.clear();
    dirtyBytes = 0;
    stateChanged = false;
    store.read(vacuum, undefined);
    if (failedBefore) options.onRecovered?.();
    return true;
  }

  function scheduleWrite(delayMs: number): void {
    cancelWrite ??= clock.after(delayMs, () => {
      cancelWrite = undefined;
      commit();
    });
  }

  function forget(id: string): void {
    dirtyBytes -= dirty.get(id)?.text.length ?? 0;
    dirty.delete(id);
  }

  function find(id: string): Entry | undefined {
    const waiting = dirty.get(id)?.entry;
    if (waiting) return waiting;
    const read = store.guard(() => ({ stored: file.findEntry(store.ensureOpen(), id) }), undefined);
    // Taking it for unknown would run it again.
    if (!read) throw new AppError('unavailable', 'the journal of this board cannot be read');
    const { stored } = read;
    return stored && acknowledged.has(id) ? { ...stored, acknowledged: true } : stored;
  }

  function put(entry: Entry): void {
    forget(entry.operationId);
    acknowledged.delete(entry.operationId);
    const text = JSON.stringify(entry);
    dirty.set(entry.operationId, { entry, text });
    dirtyBytes += text.length;
    scheduleWrite(journalLimits.writeDelayMs);
    if (dirtyBytes > journalLimits.eagerBytes && store.fault() === undefined) commit();
  }

  function* openEntries(ended: boolean): Generator<Entry> {
    for (let after = 0, done = false; !done; ) {
      const page = store.read((db) => file.readOpen(db, ended, after, pageSize), { entries: [], last: 0 });
      for (const entry of page.entries) {
        const id = entry.operationId;
        if (!dirty.has(id) && !acknowledged.has(id)) yield entry;
      }
      done = page.entries.length < pageSize;
      after = page.last;
    }
    for (const { entry } of [...dirty.values()])
      if (isEnded(entry) === ended && !entry.acknowledged) yield entry;
  }

  store.guard(store.ensureOpen, undefined);
  announced = true;

  return {
    epoch: () => state.epoch,
    since: () => state.since,
    confirmSince() {
      if (state.sinceConfirmed) return;
      state = { ...state, since: serverNow(), sinceConfirmed: true };
      stateChanged = true;
      scheduleWrite(journalLimits.writeDelayMs);
    },
    find,
    put,
    forget,
    commit,
    isStored: (id) => !dirty.has(id),
    hasRoom: () => dirtyBytes < journalLimits.fullBytes,
    acknowledge(id, attempt) {
      const entry = find(id);
      if (!entry || entry.attempt !== attempt || entry.acknowledged) return;
      if (dirty.has(id)) put({ ...entry, acknowledged: true });
      else acknowledged.add(id);
      if (acknowledged.size >= journalLimits.acknowledgements) commit();
      else scheduleWrite(journalLimits.writeDelayMs);
    },
    unacknowledged: () => openEntries(true),
    unfinished: () => [...openEntries(false)],
    schedules: () => store.read(file.readSchedules, []),
    replaceSchedules: (schedules) =>
      store.guard(() => {
        store.ensureOpen();
        store.transaction((db) => {
          // What is noted and not written yet counts for those that stay.
          file.writeFired(db, fired);
          file.replaceSchedules(db, schedules);
        });
        return true;
      }, false),
    noteFired(scheduleId, until) {
      fired.set(scheduleId, until);
      scheduleWrite(journalLimits.writeDelayMs);
    },
    stats() {
      const fault = store.fault();
      const setAside = store.setAsidePath();
      const stored = store.read((db) => file.countUnacknowledged(db, [...dirty.keys(), ...acknowledged]), 0);
      const fresh = [...dirty.values()].filter(({ entry }) => isEnded(entry) && !entry.acknowledged).length;
      return {
        epoch: state.epoch,
        unacknowledged: stored + fresh,
        bytes: store.read(usedBytes, 0),
        ...(fault !== undefined && { fault }),
        ...(setAside !== undefined && { setAside }),
      };
    },
    close() {
      commit();
      cancelWrite?.();
      cancelWrite = undefined;
      store.close();
    },
  };
}
