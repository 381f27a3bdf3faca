/**
 * The intake: what sources hear becomes readings, or stays as a dead letter, in one transaction for
 * all that comes while the one before is under way. Nothing is answered before it is on disk.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import type { SpoolTransaction } from '../spool/appends.ts';
import type { Spool } from '../spool/spool.ts';
import { type Arrival, apply } from './apply.ts';
import { createDraft, type Draft } from './draft.ts';
import { type MacKeys, readMacKeys } from './mac.ts';
import { createPrepare, messageLimits, type Prepare, type Prepared } from './prepare.ts';
import { compileRules } from './rules.ts';
import { type IntakeState, loadState } from './state.ts';
import { transmissionKey } from './transmissions.ts';
import type { Intake, IntakeDoor, IntakeOutcome, IntakeSettings, RawMessage } from './types.ts';

export interface IntakeOptions {
  spool: Pick<Spool, 'append'>;
  clock: Clock;
  logger: Logger;
  /** Bytes that dead letters may take. */
  letterBytes: number;
  /** Name of the source that declares the module itself. */
  ownerOf: (module: string) => string | undefined;
}

/** Bounds of what waits in memory for the disk. */
export const intakeLimits = {
  messages: 5000,
  bytes: 16_000_000,
  perTransaction: 500,
  retryAfterSeconds: 5,
} as const;

interface Item {
  bytes: number;
  /** May run again, on another draft. */
  run(draft: Draft): unknown;
  done(result: unknown): void;
  failed(error: AppError): void;
}

export function createIntake(options: IntakeOptions): Intake {
  const { spool, clock, logger } = options;
  const keys: MacKeys = new Map();
  const doors = new Map<
    string,
    { kind: string; prepare: Prepare; settings: IntakeSettings; fault?: string }
  >();
  let state: IntakeState | undefined;
  let queue: Item[] = [];
  let queuedBytes = 0;
  let underWay: Item[] = [];
  let running = false;
  /** Items that go one by one, because one of them cannot be done. */
  let alone = 0;

  function add(item: Item): void {
    queue.push(item);
    queuedBytes += item.bytes;
    if (!running) void work();
  }

  async function work(): Promise<void> {
    running = true;
    while (queue.length > 0) {
      try {
        const { draft, results } = await spool.append(runBatch);
        draft.adopt();
        const items = takeUnderWay();
        for (const [index, item] of items.entries()) item.done(results[index]);
      } catch (error) {
        fail(error);
      }
    }
    running = false;
  }

  function takeUnderWay(): Item[] {
    const items = underWay;
    underWay = [];
    for (const { bytes } of items) queuedBytes -= bytes;
    alone = Math.max(0, alone - items.length);
    return items;
  }

  function runBatch(tx: SpoolTransaction): { draft: Draft; results: unknown[] } {
    if (underWay.length === 0) underWay = queue.splice(0, alone > 0 ? 1 : intakeLimits.perTransaction);
    const now = clock.now();
    if (state?.db !== tx.db) state = loadState(tx.db, now);
    const draft = createDraft(state, tx, {
      now,
      nowMs: clock.monotonicMs(),
      letterBytes: options.letterBytes,
      kindOf: (source) => doors.get(source)?.kind ?? 'unknown',
    });
    const results = underWay.map((item) => item.run(draft));
    draft.write();
    return { draft, results };
  }

  function fail(error: unknown): void {
    if (error instanceof AppError) {
      // The spool takes nothing: what waits would meet the same.
      underWay = [...underWay, ...queue.splice(0)];
      for (const item of takeUnderWay()) item.failed(error);
      return;
    }
    if (underWay.length > 1) {
      alone = underWay.length;
      queue = [...underWay.splice(0), ...queue];
      return;
    }
    logger.error({ err: error }, 'the intake has failed at a message');
    const internal = new AppError('unavailable', messageOf(error), { cause: error });
    for (const item of takeUnderWay()) item.failed(internal);
  }

  function take(name: string, message: RawMessage): Promise<IntakeOutcome> {
    const door = doors.get(name);
    if (!door) throw new Error(`the intake has no source '${name}'`);
    if (queue.length >= intakeLimits.messages || queuedBytes >= intakeLimits.bytes)
      return Promise.resolve(unavailable('too many messages wait for the disk'));
    const receivedAt = clock.now();
    const tooLarge = findSizeFault(message);
    const transmission =
      message.transmission === undefined ? undefined : transmissionKey(name, message.transmission);
    let prepared: Prepared | undefined;
    const prepare = () => {
      prepared ??= door.prepare(message, receivedAt);
      return prepared;
    };
    const isKnown = transmission !== undefined && state?.transmissions.has(transmission);
    if (!isKnown && tooLarge === undefined) prepare();
    const arrival: Arrival = {
      door: door.settings,
      message,
      receivedAt,
      prepare,
      ...(transmission !== undefined && { transmission }),
    };
    return new Promise((resolve) => {
      add({
        bytes: message.payload.length + message.path.length,
        run(draft): IntakeOutcome {
          if (tooLarge === undefined) return apply(draft, { keys, ownerOf: options.ownerOf }, arrival);
          draft.count(name, 'rejected');
          return { status: 'refused', reason: 'too-large', detail: tooLarge };
        },
        done: (outcome) => resolve(outcome as IntakeOutcome),
        failed: (error) => resolve(unavailable(error.message)),
      });
    });
  }

  function open(kind: string, settings: IntakeSettings): IntakeDoor {
    const faults: string[] = [];
    for (const [module, key] of readMacKeys(settings.macKeyFiles, faults)) {
      const known = keys.get(module);
      if (known && !known.equals(key)) faults.push(`'${module}' has two different keys`);
      keys.set(module, key);
    }
    if (faults.length > 0)
      throw new ConfigError(faults.map((fault) => `source '${settings.name}': ${fault}`));
    doors.set(settings.name, { kind, settings, prepare: createPrepare(compileRules(settings.rules)) });
    return {
      take: (message) => take(settings.name, message),
      setFault(fault) {
        const door = doors.get(settings.name);
        if (!door) return;
        if (fault === undefined) delete door.fault;
        else door.fault = fault;
      },
    };
  }

  return { open };
}

function unavailable(detail: string): IntakeOutcome {
  return { status: 'unavailable', detail, retryAfterSeconds: intakeLimits.retryAfterSeconds };
}

function findSizeFault({ payload, path }: RawMessage): string | undefined {
  if (payload.length > messageLimits.payloadBytes)
    return `it has more than ${messageLimits.payloadBytes} bytes`;
  return path.length > messageLimits.pathLength
    ? `its path is longer than ${messageLimits.pathLength}`
    : undefined;
}
