/**
 * What one transaction changes of the intake's state. Reads see the changes; the state itself gets
 * them when the transaction is on disk. A transaction that fails leaves nothing to undo.
 */
import { agentLimits } from '../../common/wamp/agent-procedures.ts';
import type { ReadingType } from '../../common/wamp/readings.ts';
import type { SpoolTransaction } from '../spool/appends.ts';
import type { Decisions } from './decisions.ts';
import { createDevicesDraft, type DevicesDraft } from './draft-devices.ts';
import { createFlowDraft, type FlowDraft } from './draft-flow.ts';
import { createLettersDraft, type LettersDraft } from './draft-letters.ts';
import { countStream, type IntakeState, moduleOf } from './state.ts';
import { transmissionLimits, trimTransmissions, writeTransmissions } from './transmissions.ts';

export interface DraftOptions {
  now: number;
  nowMs: number;
  /** Bytes that dead letters may take. */
  letterBytes: number;
  kindOf: (source: string) => string;
}

export interface Adopted {
  devices: string[];
  sources: string[];
  /** Devices that were not known. */
  created: number;
  /** Dead letters that had to go. */
  evicted: number;
}

type Parts = Omit<FlowDraft & LettersDraft & DevicesDraft, 'write' | 'adopt' | 'evict'>;

export interface Draft extends Parts {
  tx: SpoolTransaction;
  now: number;
  decisions(): Decisions;
  setDecisions(next: Decisions): void;
  typeOfStream(name: string): ReadingType | undefined;
  /** Why a stream cannot be added beside `others`; undefined when it can. */
  streamFault(name: string, others: Iterable<string>): string | undefined;
  addStream(name: string, type: ReadingType): void;
  hasTransmission(key: string, repetition?: boolean): boolean;
  addTransmission(key: string): void;
  /** The last step inside the transaction. */
  write(): void;
  /** The transaction is on disk. Answers with what has changed. */
  adopt(): Adopted;
}

export function createDraft(state: IntakeState, tx: SpoolTransaction, options: DraftOptions): Draft {
  const { now, nowMs } = options;
  const flow = createFlowDraft(state, options.kindOf);
  const letters = createLettersDraft(state, tx.db, flow, options.letterBytes);
  const devices = createDevicesDraft(state, nowMs);
  const streams = new Map<string, ReadingType>();
  const transmissions = new Set<string>();
  let decisions = state.decisions;
  let evicted = 0;
  let trims = false;

  return {
    ...flow,
    ...letters,
    ...devices,
    tx,
    now,
    decisions: () => decisions,
    setDecisions(next) {
      decisions = next;
    },

    typeOfStream: (name) => streams.get(name) ?? state.streams.get(name),
    streamFault(name, others) {
      const added = [...streams.keys(), ...others];
      if (state.streams.size + added.length >= agentLimits.streams)
        return `the board has ${agentLimits.streams} streams, more are not allowed`;
      const module = moduleOf(name);
      const isOfModule = (each: string) => moduleOf(each) === module;
      const own = (state.streamsOfModule.get(module) ?? 0) + added.filter(isOfModule).length;
      if (own < agentLimits.streamsPerModule) return undefined;
      return `module '${module}' has ${agentLimits.streamsPerModule} streams, more are not allowed`;
    },
    addStream: (name, type) => void streams.set(name, type),

    hasTransmission: (key, repetition) =>
      repetition !== false && (transmissions.has(key) || state.transmissions.has(key, repetition)),
    addTransmission: (key) => void transmissions.add(key),

    write() {
      evicted = letters.evict();
      devices.write(tx.db);
      flow.write(tx.db);
      writeTransmissions(tx.db, [...transmissions], now);
      // It looks at all of them: not with each commit.
      trims = transmissions.size > 0 && Math.abs(now - state.trimmedAt) >= transmissionLimits.trimEveryMs;
      if (trims) trimTransmissions(tx.db, now);
    },

    adopt() {
      for (const [name, type] of streams) {
        if (!state.streams.has(name)) countStream(state.streamsOfModule, name);
        state.streams.set(name, type);
      }
      state.transmissions.add(transmissions, now);
      state.decisions = decisions;
      if (trims) state.trimmedAt = now;
      letters.adopt();
      return { ...devices.adopt(), sources: flow.adopt(), evicted };
    },
  };
}
