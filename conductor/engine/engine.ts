/**
 * Sends operations to boards. States of a board in it:
 *
 *   due        in `board_queues`; found by a look, which begins when somebody wakes the conductor,
 *              when places become free, and every two seconds in any case
 *   claimed    taken, and its dispatches on record, by one transaction (claim.ts)
 *   called     by the relay (calls.ts)
 *   recorded   what came of it is written, by one transaction for many boards (recorder.ts): with the
 *              next dispatches to the board, which is called again, or with the board given back
 *
 * That a call failed, and that its outcome could not be written, are two things: the first is on
 * record, the second leaves the targets `dispatched` and the board held until its lease ends. A
 * conductor that dies at any point leaves no more than that.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../../common/db/database.ts';
import type { BoardRelease } from '../../common/db/queries/board-queues.ts';
import type { RelayClient } from '../../common/relay/relay-client.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { createBoardRests } from '../board-rests.ts';
import { createNap } from '../nap.ts';
import { createBoardBackoff } from './board-backoff.ts';
import { createCaller } from './calls.ts';
import {
  afterChanges,
  type BoardWork,
  type Claim,
  claimBoards,
  continueWork,
  releaseOf,
  withoutLost,
} from './claim.ts';
import type { DecideRules } from './decide.ts';
import { createLimits } from './limits.ts';
import { createSafetyCache } from './load.ts';
import type { Again, Outcome } from './outcomes.ts';
import { createPicker } from './pick.ts';
import { createRecorder } from './recorder.ts';
import { defaultEngineSettings, type EngineObserver, type EngineSettings } from './settings.ts';
import type { OpenTarget } from './views.ts';
import { createWaits, type Waits } from './waits.ts';

export interface EngineOptions {
  database: Database;
  logger: Logger;
  relay: Pick<RelayClient, 'call'>;
  /** Owner of what is claimed: the conductor's id. */
  id: string;
  settings?: Partial<EngineSettings>;
  observer?: EngineObserver;
}

export interface Engine extends Pick<Waits, 'waitForEnd' | 'lookAt'> {
  /** Something is to be done, maybe for these boards: looks at once. */
  wake(boards?: readonly string[]): void;
  inFlight(): number;
  /** How many conductors live, this one included: they share the limits. */
  setConductors(live: number): void;
  /** Takes nothing more, and waits for what is under way to be recorded, at most so long. */
  stop(limitMs?: number): Promise<void>;
}

/** Hints beyond are not kept: a look finds the boards by itself. */
const maxHints = 1000;
const failedLookMs = 500;
const faultRestMs = 60_000;
/** How long one goes on with a board without giving it back: well within its lease. */
const goOnMs = 3000;
const searchEveryMs = 100;
/** Others took what was found, or a tenant has all its places: no reason to stand still. */
const missedLookMs = 50;

interface Look {
  /** There may be more to take. */
  hasMore: boolean;
  isDraining: boolean;
  taken: number;
  searched: boolean;
}

export function startEngine(options: EngineOptions): Engine {
  const { database, logger, id, observer = {} } = options;
  const settings = { ...defaultEngineSettings, ...options.settings };
  const rules: DecideRules = { graceMs: settings.graceMs, maxRuns: 8, conductor: id };
  const limits = createLimits(settings.limits);
  const picker = createPicker(limits);
  const safeties = createSafetyCache();
  const backoff = createBoardBackoff();
  const waits = createWaits(database, logger);
  const stopping = new AbortController();
  const underWay = new Set<Promise<void>>();
  const holding = new Set<string>();
  const hints = new Set<string>();
  const faulty = createBoardRests(faultRestMs);
  let clockOffsetMs = 0;
  let isHungry = false;
  let isAway = false;
  /** Told of boards, one need not search for others each time; but not seldom either. */
  let mustSearch = true;
  let searchedAt = Number.NEGATIVE_INFINITY;
  const nap = createNap(stopping.signal);
  const now = () => Date.now() + clockOffsetMs;
  const caller = createCaller({
    relay: options.relay,
    conductor: id,
    settings,
    now,
    onOutcome: ({ label }) => observer.onOutcome?.(label),
  });
  const recorder = createRecorder({
    database,
    owner: id,
    logger,
    now,
    onEnded: waits.ended,
    onWritten: ({ releases }) => {
      if (releases.some(({ nextAt }) => nextAt !== undefined && nextAt <= now())) lookNow();
    },
    ...(observer.onCommit && { onCommit: observer.onCommit }),
  });

  const onFault = (error: unknown, board: string) =>
    logger.error({ err: error, board }, 'cannot decide what to do for a board, will look again in a minute');

  function lookNow(): void {
    mustSearch = true;
    nap.wake();
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      nap.beginLook();
      let waitMs = settings.lookEveryMs * (0.75 + Math.random() * 0.5);
      try {
        const { hasMore, isDraining, taken, searched } = await look();
        if (isAway) logger.info({}, 'work can be looked for again');
        isAway = false;
        // Until then, a place that becomes free is a reason to look.
        isHungry = hasMore;
        if (isDraining)
          waitMs = Math.min(waitMs, (1000 * limits.conductors()) / settings.limits.drainPerSecond);
        if (hasMore) waitMs = Math.min(waitMs, missedLookMs);
        if (hasMore && taken > 0 && limits.free() > 0) nap.wake();
        if (!searched) waitMs = Math.min(waitMs, searchEveryMs);
      } catch (error) {
        if (!isAway && !stopping.signal.aborted)
          logger.warn({ err: error }, 'cannot look for work, will go on trying');
        isAway = true;
        mustSearch = true;
        await nap.sleep(failedLookMs);
      }
      if (!nap.isWoken()) await nap.sleep(waitMs);
    }
  }

  async function look(): Promise<Look> {
    const most = Math.min(settings.claimAtOnce, limits.free());
    if (most === 0) return { hasMore: true, isDraining: false, taken: 0, searched: true };
    // When there is more than there are places for, those that one is told of get half of them.
    const hinted = [...hints].slice(0, isHungry ? Math.ceil(most / 2) : most);
    for (const each of hinted) hints.delete(each);
    const isLate = performance.now() - searchedAt > searchEveryMs;
    const searched = mustSearch || isHungry || hinted.length === 0 || isLate;
    if (!searched && limits.isAmple(hinted.length)) {
      const taken = await claim(hinted.filter(isTakeable), [0]);
      return { hasMore: hints.size > 0, isDraining: false, taken, searched };
    }
    if (searched) {
      mustSearch = false;
      searchedAt = performance.now();
    }
    const { signal } = stopping;
    const request = { hinted, most, searches: searched };
    const picked = await database.read((manager) => picker.pick(manager, request), { signal });
    const found = { ...picked, hasMore: picked.hasMore || hints.size > 0, searched };
    if (signal.aborted) return { ...found, taken: 0 };
    return { ...found, taken: await claim(picked.boards.filter(isTakeable), [0, 1]) };
  }

  /** What is held already may look due when its lease ran out meanwhile. */
  const isTakeable = (board: string) => !faulty.has(board) && !holding.has(board);

  async function claim(boards: readonly string[], lanes: readonly (0 | 1)[]): Promise<number> {
    if (boards.length === 0) return 0;
    const startedAt = performance.now();
    const { leaseSeconds } = settings;
    try {
      const claimed = await database.transaction(
        (manager) =>
          claimBoards(manager, boards, { owner: id, leaseSeconds, lanes, rules, safeties, onFault }),
        { deadlineMs: 2000 },
      );
      begin(claimed, (performance.now() - startedAt) / 1000);
      return claimed.taken;
    } catch (error) {
      // A database that is away is away for all; what else cannot be taken is the fault of one.
      if (error instanceof AppError) throw error;
      const [board] = boards;
      if (board !== undefined && boards.length === 1) {
        onFault(error, board);
        faulty.add(board);
        return 0;
      }
      const half = Math.ceil(boards.length / 2);
      return (await claim(boards.slice(0, half), lanes)) + (await claim(boards.slice(half), lanes));
    }
  }

  function begin({ works, written, taken, now: databaseNow }: Claim, seconds: number): void {
    if (databaseNow === undefined) return;
    clockOffsetMs = databaseNow - Date.now();
    waits.ended(written.ended);
    recorder.mayHaveEnded(written.mayHaveEnded);
    const dispatches = works.flatMap(({ calls }) => calls).filter(({ kind }) => kind === 'run').length;
    observer.onClaim?.(taken, dispatches, seconds);
    if (written.releases.some(({ nextAt }) => nextAt !== undefined && nextAt <= databaseNow)) lookNow();
    for (const work of works) {
      const { held } = work.loaded;
      limits.take(held);
      holding.add(held.boardUuid);
      const done = handle(work).finally(() => {
        underWay.delete(done);
        limits.give(held);
        holding.delete(held.boardUuid);
        if (isHungry) lookNow();
      });
      underWay.add(done);
    }
  }

  /** Calls the board, and goes on with it while it has something to do and nobody else waits for its place. */
  async function handle(first: BoardWork): Promise<void> {
    const { held } = first.loaded;
    const { boardUuid } = held;
    const startedAt = performance.now();
    for (let work = first; ; ) {
      const outcomes = await caller.call(work);
      const changes = outcomes.flatMap(({ change }) => change ?? []);
      const targets = afterChanges(work.targets, changes);
      const mayGoOn = !isHungry && !stopping.signal.aborted && performance.now() - startedAt < goOnMs;
      const next = mayGoOn ? continueWork(work, targets, outcomes, now(), rules) : undefined;
      const recorded = await recorder.record(
        next
          ? { boardUuid, changes: [...changes, ...next.changes], release: undefined }
          : { boardUuid, changes, release: release(work, targets, outcomes) },
      );
      // The lease ends by itself, and whoever takes the board then sees what is on record.
      if (!recorded || !next) return;
      const [sent] = withoutLost([next.work], recorded.lost);
      if (!sent || sent.calls.length === 0) {
        const again = { board: held, nextAt: now(), hasOpen: true };
        await recorder.record({ boardUuid, changes: [], release: again });
        return;
      }
      observer.onGoOn?.(sent.calls.length);
      work = sent;
    }
  }

  function release(
    work: BoardWork,
    targets: readonly OpenTarget[],
    outcomes: readonly Outcome[],
  ): BoardRelease {
    const asked = new Set(
      work.calls.flatMap((call) => (call.kind === 'run' ? [] : call.targets.map((each) => each.operationId))),
    );
    const planned = releaseOf(work.loaded, targets, now(), rules, asked);
    const at = nextLook(work.loaded.held.boardUuid, outcomes, planned.nextAt);
    return { ...planned, nextAt: work.isUnsettled ? now() : at };
  }

  /** After a failure on the way the board rests: with all it has, so that the order is kept. */
  function nextLook(
    boardUuid: string,
    outcomes: readonly Outcome[],
    nextAt: number | undefined,
  ): number | undefined {
    const has = (again: Again) => outcomes.some((each) => each.again === again);
    if (has('backoff')) return now() + backoff.next(boardUuid);
    // What the relay knows of the board is in the database within moments.
    if (has('board')) return now() + awayMs * (0.75 + Math.random() * 0.5);
    backoff.reset(boardUuid);
    return has('now') ? now() : nextAt;
  }

  const running = loop();
  return {
    wake(boards = []) {
      for (const each of boards) if (hints.size < maxHints) hints.add(each);
      if (boards.length === 0) mustSearch = true;
      nap.wake();
    },
    waitForEnd: waits.waitForEnd,
    lookAt: waits.lookAt,
    inFlight: limits.inFlight,
    setConductors: limits.setConductors,
    async stop(limitMs = 6000) {
      stopping.abort();
      await running;
      const all = Promise.all([...underWay]).then(() => recorder.settle());
      const timer = new AbortController();
      await Promise.race([all, sleep(limitMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
      timer.abort();
      waits.stop();
    },
  };
}

const awayMs = 1000;
