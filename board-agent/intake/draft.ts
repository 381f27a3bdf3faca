/**
 * What one transaction changes of the intake's state. Reads see the changes; the state itself gets
 * them when the transaction is on disk. A transaction that fails leaves nothing to undo.
 */
import { agentLimits } from '../../common/wamp/agent-procedures.ts';
import type { ModuleState } from '../../common/wamp/modules.ts';
import type { ReadingType } from '../../common/wamp/readings.ts';
import type { SpoolTransaction } from '../spool/appends.ts';
import { prepared } from '../state/sqlite-file.ts';
import { createCounts, type FlowOutcome, type SourceCounts, writeCounts } from './counts.ts';
import { type DeadLetter, deadLetterLimits, insertLetter } from './dead-letters.ts';
import type { Decisions } from './decisions.ts';
import { copyDevice, createDevice, type Device, writeDevice } from './devices.ts';
import { countStream, type IntakeState, moduleOf } from './state.ts';
import { trimTransmissions, writeTransmissions } from './transmissions.ts';

export interface DraftOptions {
  now: number;
  nowMs: number;
  /** Bytes that dead letters may take. */
  letterBytes: number;
  kindOf: (source: string) => string;
}

export type Draft = ReturnType<typeof createDraft>;

const minuteMs = 60_000;

export function createDraft(state: IntakeState, tx: SpoolTransaction, options: DraftOptions) {
  const { now, nowMs } = options;
  const { db } = tx;
  const devices = new Map<string, Device>();
  const counts = new Map<string, SourceCounts>();
  const streams = new Map<string, ReadingType>();
  const transmissions = new Set<string>();
  const held = new Map<string, number>();
  const rated = new Map<Device['rate'], number>();
  let created = 0;
  let letters = state.letters.letters;
  let letterBytes = state.letters.bytes;
  let evicted = 0;
  let decisions: Decisions | undefined;

  const heldBy = (module: string) => held.get(module) ?? state.letters.held.get(module) ?? 0;

  function countsOf(source: string): SourceCounts {
    const known = counts.get(source);
    if (known) return known;
    const copy = { ...(state.counts.get(source) ?? createCounts(source, options.kindOf(source))) };
    counts.set(source, copy);
    return copy;
  }

  /** Books a letter in or out. */
  function noteLetter(
    { source, reason, module }: Pick<DeadLetter, 'source' | 'reason' | 'module'>,
    step: 1 | -1,
  ) {
    letters += step;
    if (reason !== 'quarantined') return;
    countsOf(source).waiting += step;
    held.set(module ?? '', heldBy(module ?? '') + step);
  }

  /** The oldest letters go when there are too many; what was waiting counts as rejected. */
  function evict(): void {
    const most = Math.min(options.letterBytes, deadLetterLimits.bytes);
    while (letters > deadLetterLimits.letters || (letterBytes > most && letters > 0)) {
      const oldest = prepared(
        db,
        'SELECT id, source, reason, module, bytes FROM dead_letters ORDER BY id LIMIT 1',
      );
      const row = oldest.get() as unknown as (DeadLetter & { bytes: number }) | undefined;
      if (!row) return;
      removeLetter(row, 'rejected');
      evicted += 1;
    }
  }

  /** `becomes` counts only for letters that were waiting: the others are counted as rejected already. */
  function removeLetter(
    letter: Pick<DeadLetter, 'id' | 'source' | 'reason' | 'module'> & { bytes?: number },
    becomes: 'rejected' | 'nothing',
  ): void {
    const row = prepared(db, 'DELETE FROM dead_letters WHERE id = ? RETURNING bytes').get(letter.id);
    if (!row) return;
    letterBytes -= Number(row.bytes);
    noteLetter(letter, -1);
    if (letter.reason === 'quarantined' && becomes === 'rejected') countsOf(letter.source).rejected += 1;
  }

  return {
    tx,
    now,
    nowMs,
    decisions: () => decisions ?? state.decisions,
    setDecisions(next: Decisions) {
      decisions = next;
    },

    findDevice: (name: string): Device | undefined => devices.get(name) ?? state.devices.get(name),
    countDevices: () => state.devices.size + created,
    /** A device to change. */
    editDevice(name: string): Device | undefined {
      const changed = devices.get(name);
      if (changed) return changed;
      const known = state.devices.get(name);
      if (!known) return undefined;
      const copy = copyDevice(known);
      devices.set(name, copy);
      return copy;
    },
    createDevice(name: string, source: string, deviceState: ModuleState): Device {
      const device = createDevice(name, source, deviceState, now);
      devices.set(name, device);
      created += 1;
      return device;
    },
    allDevices: () => [...new Set([...state.devices.keys(), ...devices.keys()])],
    /** Devices that came in by policy within the last minute. */
    createdLately: () => state.createdAtMs.filter((at) => at > nowMs - minuteMs).length + created,
    /** Seconds until the device may send one more; 0 = now. */
    waitSeconds: ({ rate }: Device, maxPerSecond: number) =>
      rate.waitSeconds(nowMs, maxPerSecond, rated.get(rate) ?? 0),
    noteRate: ({ rate }: Device) => rated.set(rate, (rated.get(rate) ?? 0) + 1),

    typeOfStream: (name: string): ReadingType | undefined => streams.get(name) ?? state.streams.get(name),
    /** Why a stream cannot be added beside `others`; undefined when it can. */
    streamFault(name: string, others: Iterable<string>): string | undefined {
      const added = [...streams.keys(), ...others];
      if (state.streams.size + added.length >= agentLimits.streams)
        return `the board has ${agentLimits.streams} streams, more are not allowed`;
      const module = moduleOf(name);
      const isOfModule = (each: string) => moduleOf(each) === module;
      const own = (state.streamsOfModule.get(module) ?? 0) + added.filter(isOfModule).length;
      if (own < agentLimits.streamsPerModule) return undefined;
      return `module '${module}' has ${agentLimits.streamsPerModule} streams, more are not allowed`;
    },
    addStream: (name: string, type: ReadingType) => streams.set(name, type),

    hasTransmission: (key: string) => transmissions.has(key) || state.transmissions.has(key),
    addTransmission: (key: string) => transmissions.add(key),

    /** A message has come, or has come again. */
    count(source: string, outcome: Exclude<FlowOutcome, 'waiting'>) {
      const flow = countsOf(source);
      flow.received += 1;
      flow[outcome] += 1;
    },
    /** What waited has become something. */
    countWaited(source: string, outcome: Exclude<FlowOutcome, 'waiting'>) {
      countsOf(source)[outcome] += 1;
    },

    /** A letter that counted as rejected waits again: as if it had come a second time. */
    countAgain(source: string) {
      countsOf(source).received += 1;
    },

    heldBy,
    /** Counts it as waiting or rejected, and as received unless it was here already. */
    addLetter(letter: Omit<DeadLetter, 'id'>) {
      const flow = countsOf(letter.source);
      flow.received += 1;
      if (letter.reason !== 'quarantined') flow.rejected += 1;
      letterBytes += insertLetter(db, letter);
      noteLetter(letter, 1);
    },
    removeLetter,
    /** The same message, for another reason. */
    changeLetter(letter: DeadLetter, next: Pick<DeadLetter, 'reason' | 'detail' | 'module'>) {
      prepared(db, 'UPDATE dead_letters SET reason = ?, detail = ?, module = ? WHERE id = ?').run(
        next.reason,
        next.detail.slice(0, deadLetterLimits.detailLength),
        next.module ?? null,
        letter.id,
      );
      noteLetter(letter, -1);
      noteLetter({ ...next, source: letter.source }, 1);
    },

    /** The last step inside the transaction. */
    write(): void {
      evict();
      for (const device of devices.values()) writeDevice(db, device);
      for (const each of counts.values()) writeCounts(db, each);
      writeTransmissions(db, [...transmissions], now);
      if (transmissions.size > 0) trimTransmissions(db, now);
    },

    /** The transaction is on disk. Answers with what has changed. */
    adopt(): { devices: string[]; sources: string[]; evicted: number; created: number } {
      for (const [name, device] of devices) state.devices.set(name, device);
      for (const [name, each] of counts) state.counts.set(name, each);
      for (const [name, type] of streams) {
        if (!state.streams.has(name)) countStream(state.streamsOfModule, name);
        state.streams.set(name, type);
      }
      for (const [module, n] of held) {
        if (n > 0) state.letters.held.set(module, n);
        else state.letters.held.delete(module);
      }
      for (const [rate, messages] of rated) rate.count(nowMs, messages);
      state.letters.letters = letters;
      state.letters.bytes = letterBytes;
      state.transmissions.add(transmissions, now);
      if (decisions) state.decisions = decisions;
      const createdAt = state.createdAtMs.filter((at) => at > nowMs - minuteMs);
      state.createdAtMs = [...createdAt, ...Array.from({ length: created }, () => nowMs)];
      return { devices: [...devices.keys()], sources: [...counts.keys()], evicted, created };
    },
  };
}
