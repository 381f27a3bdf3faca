/**
 * Evaluates alarm rules, tenant by tenant. Any number of conductors do: the row of the tenant lets one in
 * at a time (evaluate.ts), nothing is held in memory that another would need.
 *
 *   look    which tenants have new readings, something due, boards that moved, rules that changed
 *   sweep   for those whose rules changed, and each minute (sweep.ts)
 *   turn    evaluations of the tenant until nothing waits, or its time is over and others have theirs
 *   nap     until woken, at most half a second
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { backoffDelayMs } from '../../common/runtime/backoff.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { createNap } from '../nap.ts';
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
const lookEveryMs = 400;
/** One tenant's, before others have theirs. */
const turnMs = 1000;
const tenantsAtOnce = 4;
const backoff = { baseMs: 50, capMs: 10_000 };
/** Statements that lock one another are run again for so long. */
const deadlineMs = 5000;

export function startAlarms(options: AlarmOptions): Alarms {
  const { database, logger, feed, quotas, observer } = options;
  const stopping = new AbortController();
  const nap = createNap(stopping.signal);
  const parts: EvaluationParts = { feed, rules: createRuleMemory(), members: createMembers(), quotas };
  const seen = createSeenEvents();
  const rests = new Map<string, { faults: number; until: number }>();
  const check = () => stopping.signal.throwIfAborted();
  // After a commit whose outcome is unknown it finds nothing left to evaluate, or all of it.
  const write = <T>(work: (manager: EntityManager) => Promise<T>) =>
    database.transaction(work, { repeatable: true, deadlineMs, signal: stopping.signal });

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      nap.beginLook();
      try {
        await look();
      } catch (error) {
        if (!stopping.signal.aborted) logger.warn({ err: error }, 'cannot look for alarms, will look again');
      }
      if (!nap.isWoken()) await nap.sleep((options.lookEveryMs ?? lookEveryMs) * (0.9 + Math.random() * 0.1));
    }
  }

  async function look(): Promise<void> {
    for (const tenantId of await database.read(findTenantsToSweep))
      await guarded(tenantId, () => sweep(tenantId));
    const moved = await database.read((manager) => findMovedBoards(manager, seen));
    const due = await database.read(findDueTenants);
    const fed = await database.read((manager) => feed.findTenants(manager));
    const tenants = [...new Set([...fed, ...due, ...moved.keys()])];
    await inTurn(tenants, (tenantId) => guarded(tenantId, () => turn(tenantId, moved.get(tenantId) ?? [])));
  }

  /** A fault with one tenant must not keep others from theirs; it rests for longer each time. */
  async function guarded(tenantId: string, work: () => Promise<void>): Promise<void> {
    const rest = rests.get(tenantId);
    if (rest && performance.now() < rest.until) return;
    try {
      check();
      await work();
      rests.delete(tenantId);
    } catch (error) {
      if (stopping.signal.aborted) return;
      logger.error({ err: error, tenant: tenantId }, 'alarm rules were not evaluated, will try again');
      const faults = (rest?.faults ?? 0) + 1;
      rests.set(tenantId, { faults, until: performance.now() + backoffDelayMs(faults, backoff) });
    }
  }

  async function sweep(tenantId: string): Promise<void> {
    await sweepTenant(tenantId, { write, quotas, onWritten: tell, check });
  }

  async function turn(tenantId: string, boards: readonly string[]): Promise<void> {
    const endsAt = performance.now() + turnMs;
    let waiting = boards;
    for (let isDone = false; !isDone && performance.now() < endsAt; ) {
      check();
      const startedAt = performance.now();
      const hints = waiting;
      const evaluation = await write((manager) => evaluateTenant(manager, tenantId, parts, hints));
      observer?.onEvaluation(evaluation, (performance.now() - startedAt) / 1000);
      tell(evaluation);
      waiting = [];
      isDone = evaluation.isDone;
      // What is left is looked at again without a nap.
      if (!isDone) nap.wake();
    }
  }

  function tell(written: Written): void {
    if (written.raised + written.cleared > 0) observer?.onAlarms(written);
    if (written.boards.length > 0) options.onBoards(written.boards);
  }

  const running = loop();
  return {
    wake: nap.wake,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Some at a time, each as soon as another has ended. */
async function inTurn(tenants: readonly string[], work: (tenantId: string) => Promise<void>): Promise<void> {
  const waiting = [...tenants];
  const take = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: tenantsAtOnce }, take));
}
