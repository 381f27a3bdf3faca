/**
 * Evaluates alarm rules, tenant by tenant. Any number of conductors do: the row of the tenant lets one in
 * at a time (evaluate.ts), nothing is held in memory that another would need. Two loops, of which the
 * slow one keeps no tenant waiting but its own:
 *
 *   look    which tenants have new readings, something due, boards that moved
 *   turn    evaluations of the tenant until nothing waits, or its time is over and others have theirs
 *
 *   sweep   of tenants whose rules changed, and of each once a minute (sweep.ts)
 *
 * Both look until they are stopped, and nap in between for less than half a second.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import { inTurn } from '../../common/runtime/in-turn.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { startLooks } from '../nap.ts';
import { createSeenEvents } from '../webhooks/seen-events.ts';
import { type Evaluation, type EvaluationParts, evaluateTenant } from './evaluate.ts';
import type { AlarmFeed } from './feed.ts';
import { createMembers } from './members.ts';
import { createRuleMemory } from './rule-memory.ts';
import { sweepTenant } from './sweep.ts';
import { findDueTenants, findMovedBoards, findTenantsToSweep } from './work.ts';
import type { Written } from './write-changes.ts';

export interface AlarmOptions {
  database: Database;
  logger: Logger;
  feed: AlarmFeed;
  quotas: QuotaLimits;
  lookEveryMs?: number;
  /** Boards have got operations to do. */
  onBoards: (boardUuids: readonly string[]) => void;
  observer?: AlarmObserver;
}

export interface AlarmObserver {
  onEvaluation(evaluation: Pick<Evaluation, 'evaluated' | 'waitedMs'>, seconds: number): void;
  onAlarms(counts: Pick<Written, 'raised' | 'cleared'>): void;
}

export interface Alarms {
  /** There are new readings: looks at once. */
  wake(): void;
  /** Ends after the transaction under way. */
  stop(): Promise<void>;
}

/** With the evaluation itself well within a second of the commit, also when no wake came. */
const defaultLookMs = 400;
/** One tenant's, before others have theirs. */
const turnMs = 1000;
const tenantsAtOnce = 4;
const sweepsAtOnce = 2;
const backoff = { baseMs: 50, capMs: 10_000 };
/** Statements that lock one another are run again for so long. */
const deadlineMs = 5000;

export function startAlarms(options: AlarmOptions): Alarms {
  const { database, logger, feed, quotas, observer, lookEveryMs: everyMs = defaultLookMs } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const parts: EvaluationParts = { feed, rules: createRuleMemory(), members: createMembers(), quotas };
  const seen = createSeenEvents();
  const evaluating = createRests(logger, signal);
  const sweeping = createRests(logger, signal);
  const check = () => signal.throwIfAborted();
  // After a commit whose outcome is unknown it finds nothing left to evaluate, or all of it.
  const write = <T>(work: (manager: EntityManager) => Promise<T>) =>
    database.transaction(work, { repeatable: true, deadlineMs, signal });

  async function look(): Promise<void> {
    const moved = await database.read((manager) => findMovedBoards(manager, seen));
    const due = await database.read(findDueTenants);
    const fed = await database.read((manager) => feed.findTenants(manager));
    const tenants = [...new Set([...fed, ...due, ...moved.keys()])];
    await inTurn(tenants, tenantsAtOnce, (tenantId) =>
      evaluating.guard(tenantId, () => turn(tenantId, moved.get(tenantId) ?? [])),
    );
  }

  async function turn(tenantId: string, boards: readonly string[]): Promise<void> {
    const endsAt = performance.now() + turnMs;
    for (let isDone = false; !isDone && performance.now() < endsAt; ) {
      check();
      const startedAt = performance.now();
      const evaluation = await write((manager) => evaluateTenant(manager, tenantId, parts, boards));
      observer?.onEvaluation(evaluation, (performance.now() - startedAt) / 1000);
      tell(evaluation);
      isDone = evaluation.isDone;
      // What is left is looked at again without a nap.
      if (!isDone) evaluations.wake();
    }
  }

  async function lookForSweeps(): Promise<void> {
    await inTurn(await database.read(findTenantsToSweep), sweepsAtOnce, (tenantId) =>
      sweeping.guard(tenantId, async () => {
        await sweepTenant(tenantId, { write, quotas, onWritten: tell, check });
        // Readings may have waited for it.
        evaluations.wake();
      }),
    );
  }

  function tell(written: Written): void {
    if (written.raised + written.cleared > 0) observer?.onAlarms(written);
    if (written.boards.length > 0) options.onBoards(written.boards);
  }

  const evaluations = startLooks({ subject: 'alarms', everyMs, logger, stopping: signal }, look);
  const sweeps = startLooks({ subject: 'rules to sweep', everyMs, logger, stopping: signal }, lookForSweeps);
  return {
    wake: evaluations.wake,
    async stop() {
      stopping.abort();
      await Promise.all([evaluations.ended, sweeps.ended]);
    },
  };
}

/** A fault with one tenant must not keep others from theirs; it rests for longer each time. */
function createRests(logger: Logger, stopping: AbortSignal) {
  const rests = new Map<string, { faults: number; until: number }>();
  return {
    async guard(tenantId: string, work: () => Promise<void>): Promise<void> {
      const rest = rests.get(tenantId);
      if (stopping.aborted || (rest && performance.now() < rest.until)) return;
      try {
        await work();
        rests.delete(tenantId);
      } catch (error) {
        if (stopping.aborted) return;
        logger.error({ err: error, tenant: tenantId }, 'alarm rules were not evaluated, will try again');
        const faults = (rest?.faults ?? 0) + 1;
        rests.set(tenantId, { faults, until: performance.now() + backoffDelayMs(faults, backoff) });
      }
    },
  };
}
