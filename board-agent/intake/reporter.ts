/**
 * Tells the server of modules and sources, and takes over its decisions.
 *
 *   hello → everything, in chunks → rest → (a new device: 1 s, a change: 5 s, something held: 15 s)
 *         → what changed → rest …
 *   failed → again after a back-off; a server that does not know the procedure is asked seldom
 *
 * A board that holds no decisions asks for them first: until then it has held every device, and that
 * is not what the server should take for the board's opinion.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { type ModulesRequest, moduleLimits, parseModulesAnswer } from '../../common/wamp/modules.ts';
import { type Clock, pause } from '../clock.ts';
import type { AgentIntake } from './intake.ts';

export interface ReporterOptions {
  intake: Pick<
    AgentIntake,
    'hears' | 'onChange' | 'modules' | 'sources' | 'isHolding' | 'decisionsVersion' | 'decide'
  >;
  clock: Clock;
  logger: Logger;
  random?: () => number;
  /** Calls the server; rejects with an AppError. */
  send: (request: ModulesRequest, timeoutMs: number) => Promise<unknown>;
  onFailure?: (error: unknown) => void;
}

export interface ModulesReporter {
  /** Reports while the board is online; until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  /** The server was greeted: it is told everything again. */
  noteHello(): void;
  /** What changed, now. Answers with how many modules that were. Rejects with an AppError. */
  reportNow(): Promise<{ reported: number }>;
}

export const reporterLimits = {
  timeoutMs: 30_000,
  newDeviceMs: 1000,
  changedMs: 5000,
  heldMs: 15_000,
  backoff: { baseMs: 1000, capMs: 60_000 },
  /** For a server that has no such procedure. */
  olderServerMs: 600_000,
  /** Looked again without being woken. */
  restMs: 3_600_000,
} as const;

export function createModulesReporter(options: ReporterOptions): ModulesReporter {
  const { intake, clock, logger, random = Math.random } = options;
  const changed = new Set<string>();
  let everything = true;
  let dueAtMs = 0;
  /** After a failure nothing is due before. */
  let notBeforeMs = 0;
  let failures = 0;
  let saidOlder = false;
  let wakeUp: () => void = () => {};
  let underWay: Promise<unknown> = Promise.resolve();

  function due(inMs: number): void {
    const atMs = clock.monotonicMs() + inMs;
    if (atMs >= dueAtMs) return;
    dueAtMs = atMs;
    wakeUp();
  }

  intake.onChange(({ devices, created }) => {
    for (const name of devices) changed.add(name);
    due(created > 0 ? reporterLimits.newDeviceMs : reporterLimits.changedMs);
  });

  /** One call after the other, also when the server asks in the middle. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = underWay.then(work, work);
    underWay = done;
    return done;
  }

  async function report(): Promise<number> {
    if (intake.decisionsVersion() === undefined) await tell([]);
    const names = everything ? intake.modules().map((each) => each.name) : [...changed];
    const wasEverything = everything;
    everything = false;
    changed.clear();
    dueAtMs = Number.POSITIVE_INFINITY;
    try {
      for (let at = 0; at === 0 || at < names.length; at += moduleLimits.perReport)
        await tell(names.slice(at, at + moduleLimits.perReport));
    } catch (error) {
      everything ||= wasEverything;
      for (const name of names) changed.add(name);
      throw error;
    }
    if (intake.isHolding()) due(reporterLimits.heldMs);
    return names.length;
  }

  async function tell(names: readonly string[]): Promise<void> {
    const version = intake.decisionsVersion();
    const request: ModulesRequest = {
      modules: intake.modules(names),
      sources: intake.sources().slice(0, moduleLimits.sources),
      ...(version !== undefined && { version }),
    };
    const answer = parseModulesAnswer(await options.send(request, reporterLimits.timeoutMs));
    await intake.decide(answer, names);
  }

  async function reportAndNote(): Promise<number> {
    try {
      const reported = await report();
      failures = 0;
      notBeforeMs = 0;
      saidOlder = false;
      return reported;
    } catch (error) {
      noteFailure(error);
      throw error;
    }
  }

  function noteFailure(error: unknown): void {
    const isOlder = error instanceof AppError && error.code === 'procedure-not-found';
    const delayMs = isOlder
      ? reporterLimits.olderServerMs
      : 500 + backoffDelayMs(failures, { ...reporterLimits.backoff, random });
    failures += 1;
    notBeforeMs = clock.monotonicMs() + delayMs;
    dueAtMs = notBeforeMs;
    if (isOlder && saidOlder) return;
    saidOlder = isOlder;
    options.onFailure?.(error);
    const text = isOlder
      ? 'the server does not know of modules: unknown devices stay in quarantine'
      : 'the modules could not be reported, will try again';
    logger.warn({ reason: messageOf(error), retryInMs: delayMs }, text);
  }

  async function rest(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    wakeUp = () => woken.abort();
    signal.addEventListener('abort', wakeUp, { once: true });
    await pause(clock, Math.min(ms, reporterLimits.restMs), woken.signal);
    signal.removeEventListener('abort', wakeUp);
  }

  return {
    async run(signal) {
      if (!intake.hears()) return;
      everything = true;
      dueAtMs = 0;
      notBeforeMs = 0;
      while (!signal.aborted) {
        const waitMs = Math.max(dueAtMs, notBeforeMs) - clock.monotonicMs();
        if (waitMs > 0) await rest(waitMs, signal);
        // What failed has been noted, with the time of the next attempt.
        else await inTurn(reportAndNote).catch(() => undefined);
      }
    },
    noteHello() {
      everything = true;
      notBeforeMs = 0;
      due(0);
    },
    async reportNow() {
      if (!intake.hears()) return { reported: 0 };
      return { reported: await inTurn(reportAndNote) };
    },
  };
}
