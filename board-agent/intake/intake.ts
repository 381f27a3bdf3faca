/**
 * The intake: what sources hear becomes readings, or stays as a dead letter. Nothing is answered
 * before it is on disk.
 */
import { ConfigError } from '../../common/runtime/config.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ModuleReport, ModulesAnswer, SourceReport } from '../../common/wamp/modules.ts';
import type { Clock } from '../clock.ts';
import type { Spool } from '../spool/spool.ts';
import { type Arrival, apply } from './apply.ts';
import { applyDecisions } from './apply-decisions.ts';
import { createCounts } from './counts.ts';
import type { DeadLetter, LetterTotals } from './dead-letters.ts';
import type { SlowDecoder } from './decoders/file.ts';
import { reportOf } from './devices.ts';
import type { Draft } from './draft.ts';
import { createLetterBox, type LetterBox } from './letter-box.ts';
import { areSame, type MacKeys, readMacKeys } from './mac.ts';
import { createPrepare, messageLimits, type Prepare, type Prepared } from './prepare.ts';
import { releaseHeld } from './release.ts';
import { compileRules } from './rules.ts';
import { transmissionKey } from './transmissions.ts';
import type { Intake, IntakeDoor, IntakeOutcome, IntakeSettings, RawMessage } from './types.ts';
import { createWorker } from './worker.ts';

export interface IntakeOptions {
  spool: Pick<Spool, 'append'>;
  clock: Clock;
  logger: Logger;
  /** Bytes that dead letters may take. */
  letterBytes: number;
  /** Name of the source that declares the module itself. */
  ownerOf: (module: string) => string | undefined;
}

/** What changed on disk, by name. */
export interface IntakeChanges {
  devices: string[];
  sources: string[];
  /** Devices that were not known. */
  created: number;
}

/** The intake as the agent has it. */
export interface AgentIntake extends Intake {
  /** Whether a source hears messages. */
  hears(): boolean;
  /** Reads what is on disk, and lets go what waits for nothing any more. */
  start(): Promise<void>;
  /** Called after each commit. */
  onChange(listener: (changes: IntakeChanges) => void): void;
  /** By names; all without. */
  modules(names?: Iterable<string>): ModuleReport[];
  sources(): SourceReport[];
  /** Whether messages wait for a decision. */
  isHolding(): boolean;
  /** Of the decisions that are held. */
  decisionsVersion(): string | undefined;
  /**
   * Keeps the server's decisions; `reported` are the modules that it was told of. Rejects with AppError
   * `unavailable` when the disk fails.
   */
  decide(answer: ModulesAnswer, reported: readonly string[]): Promise<void>;
  stats(): IntakeStats;
  letters: LetterBox;
}

export interface IntakeStats {
  sources: SourceReport[];
  modules: number;
  deadLetters: Omit<LetterTotals, 'held'>;
}

interface Door {
  kind: string;
  settings: IntakeSettings;
  prepare: Prepare;
  fault?: string;
}

const retryAfterSeconds = 5;

export function createIntake(options: IntakeOptions): AgentIntake {
  const { clock, logger, ownerOf } = options;
  const keys: MacKeys = new Map();
  const doors = new Map<string, Door>();
  const listeners: ((changes: IntakeChanges) => void)[] = [];
  const context = { keys, ownerOf };
  const worker = createWorker({
    ...options,
    kindOf: (source) => doors.get(source)?.kind ?? 'unknown',
    onAdopted(changes) {
      if (changes.evicted > 0)
        logger.warn(
          { letters: changes.evicted },
          'the oldest dead letters were dropped: there were too many',
        );
      if (changes.devices.length + changes.sources.length > 0)
        for (const listener of listeners) listener(changes);
    },
  });

  function take(name: string, message: RawMessage): Promise<IntakeOutcome> {
    if (!worker.hasRoom()) return Promise.resolve(unavailable('too many messages wait for the disk'));
    const tooLarge = findSizeFault(message);
    const arrival = arrivalOf(getDoor(name), message);
    const { transmission } = arrival;
    const isKnown =
      transmission !== undefined &&
      worker.state()?.transmissions.has(transmission, arrival.message.repetition);
    if (!isKnown && tooLarge === undefined) arrival.prepare();
    return new Promise((resolve) => {
      worker.add({
        bytes: message.payload.length + message.path.length,
        run: (draft) =>
          tooLarge === undefined ? apply(draft, context, arrival) : refuse(draft, name, tooLarge),
        done: (outcome) => resolve(outcome as IntakeOutcome),
        failed: (error) => resolve(unavailable(error.message)),
      });
    });
  }

  const saySlow = createSaySlow(logger, clock);

  function getDoor(name: string): Door {
    const door = doors.get(name);
    if (!door) throw new Error(`the intake has no source '${name}'`);
    return door;
  }

  function arrivalOf({ settings, prepare }: Door, message: RawMessage, receivedAt = clock.now()): Arrival {
    let prepared: Prepared | undefined;
    const arrival: Arrival = {
      door: settings,
      message,
      receivedAt,
      prepare: () => (prepared ??= prepare(message, receivedAt)),
    };
    if (message.transmission !== undefined)
      arrival.transmission = transmissionKey(settings.name, message.transmission);
    return arrival;
  }

  /** A letter goes through again; undefined when its source is gone. */
  function applyAgain(draft: Draft, letter: DeadLetter): IntakeOutcome | undefined {
    const door = doors.get(letter.source);
    return door && apply(draft, context, { ...arrivalOf(door, letter.message, letter.at), letter });
  }

  function open(kind: string, settings: IntakeSettings): IntakeDoor {
    const faults: string[] = [];
    for (const [module, key] of readMacKeys(settings.macKeyFiles, faults)) {
      const known = keys.get(module);
      if (known && !areSame(known, key)) faults.push(`'${module}' has another key at another source`);
      keys.set(module, key);
    }
    const findRule = collectFaults(() => compileRules(settings.rules, saySlow), faults);
    if (faults.length > 0 || !findRule)
      throw new ConfigError(faults.map((fault) => `source '${settings.name}': ${fault}`));
    const door: Door = { kind, settings, prepare: createPrepare(findRule) };
    doors.set(settings.name, door);
    return {
      take: (message) => take(settings.name, message),
      setFault(fault) {
        if (fault === undefined) delete door.fault;
        else door.fault = fault;
        for (const listener of listeners) listener({ devices: [], sources: [settings.name], created: 0 });
      },
    };
  }

  const release = () => releaseHeld({ worker, ownerOf, applyAgain, logger });

  const sources = () =>
    [...doors].map(([name, { kind, fault }]) => ({
      ...(worker.state()?.counts.get(name) ?? createCounts(name, kind)),
      kind,
      ...(fault !== undefined && { fault: fault.slice(0, 500) }),
    }));

  return {
    open,
    hears: () => doors.size > 0,
    async start() {
      if (doors.size === 0) return;
      await worker.run(() => undefined);
      await release();
    },
    onChange: (listener) => void listeners.push(listener),
    modules(names) {
      const devices = worker.state()?.devices ?? new Map();
      const wanted = names ?? devices.keys();
      return [...wanted].flatMap((name) => {
        const device = devices.get(name);
        return device ? [reportOf(device)] : [];
      });
    },
    sources,
    stats() {
      const { letters = 0, bytes = 0, byReason = {} } = worker.state()?.letters ?? {};
      return {
        sources: sources(),
        modules: worker.state()?.devices.size ?? 0,
        deadLetters: { letters, bytes, byReason: { ...byReason } },
      };
    },
    isHolding: () => (worker.state()?.letters.held.size ?? 0) > 0,
    decisionsVersion: () => worker.state()?.decisions.version,
    async decide(answer, reported) {
      await worker.run((draft) => applyDecisions(draft, answer, new Set(reported)));
      await release();
    },
    letters: createLetterBox({ worker, applyAgain }),
  };
}

/** At most once a minute per decoder: each message of a slow one is slow. */
function createSaySlow(logger: Logger, clock: Clock): (slow: SlowDecoder) => void {
  const saidMs = new Map<string, number>();
  return ({ decoder, tookMs, count }) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - (saidMs.get(decoder) ?? Number.NEGATIVE_INFINITY) < 60_000) return;
    saidMs.set(decoder, nowMs);
    logger.warn(
      { decoder, tookMs: Math.round(tookMs), count },
      'a decoder takes long: everything else waits for it',
    );
  };
}

function collectFaults<T>(compile: () => T, faults: string[]): T | undefined {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    faults.push(...error.faults);
    return undefined;
  }
}

function refuse(draft: Draft, source: string, detail: string): IntakeOutcome {
  draft.count(source, 'rejected');
  return { status: 'refused', reason: 'too-large', detail };
}

function unavailable(detail: string): IntakeOutcome {
  return { status: 'unavailable', detail, retryAfterSeconds };
}

function findSizeFault({ payload, path }: RawMessage): string | undefined {
  if (payload.length > messageLimits.payloadBytes)
    return `it has more than ${messageLimits.payloadBytes} bytes`;
  return path.length > messageLimits.pathLength
    ? `its path is longer than ${messageLimits.pathLength}`
    : undefined;
}
