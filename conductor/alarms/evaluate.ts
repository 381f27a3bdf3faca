/**
 * One evaluation of a tenant's rules: one transaction, in which nobody else evaluates them or changes
 * them. New readings first; what time alone decides comes when no readings wait any more, because newer
 * readings decide before the clock does. What was evaluated leaves the outbox in the same transaction:
 * each reading is seen once, whatever is killed in between.
 */
import type { EntityManager } from 'typeorm';
import { takeSilence } from '../../common/alarms/silence.ts';
import { takeTime } from '../../common/alarms/take-time.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import { beginEvaluation } from '../../common/db/queries/alarm-rules.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { boardsAtOnce, evaluateBoards, findUnsettledBoards, judge } from './boards.ts';
import type { AlarmFeed } from './feed.ts';
import type { Members } from './members.ts';
import type { RuleMemory } from './rule-memory.ts';
import { type Change, evaluateStreams } from './streams.ts';
import { readDueStates, type Watched } from './watched.ts';
import { type Written, writeChanges } from './write-changes.ts';

export interface EvaluationParts {
  feed: AlarmFeed;
  rules: RuleMemory;
  members: Members;
  quotas: QuotaLimits;
}

export interface Evaluation extends Written {
  /** Readings times rules. */
  evaluated: number;
  /** How long the oldest reading had waited; undefined = there was none. */
  waitedMs: number | undefined;
  /** False: there is more to do. */
  isDone: boolean;
}

const dueAtOnce = 500;

/** A transaction stays under 5,000 rows: each rule may have a state for the stream of each reading. */
function readingsAtOnce(rules: readonly AlarmRuleRow[]): number {
  const watching = rules.filter(({ stream }) => stream !== null).length;
  return Math.min(2000, Math.max(100, Math.floor(5000 / Math.max(1, watching))));
}

/** @param boards that went online or offline, as far as is known; the same again until it is done */
export async function evaluateTenant(
  manager: EntityManager,
  tenantId: string,
  { feed, rules: memory, members, quotas }: EvaluationParts,
  boards: readonly string[] = [],
): Promise<Evaluation> {
  const set = await beginEvaluation(manager, tenantId);
  const nothing = { raised: 0, cleared: 0, boards: [], evaluated: 0, waitedMs: undefined, isDone: true };
  // What earlier rules raised has to be cleared first: the sweep does it.
  if (!set || set.version !== set.sweptVersion) return nothing;
  const now = await getDatabaseTime(manager);
  const rules = await memory.read(manager, tenantId, set.version);
  const taken = await feed.take(manager, tenantId, readingsAtOnce(rules));
  const changes = await evaluateStreams(manager, rules, taken.streams, { members, now });
  let areSettled = true;
  for (const rule of rules.filter(({ stream }) => stream === null)) {
    const moved = await findUnsettledBoards(manager, rule, { among: boards });
    changes.push(...(await evaluateBoards(manager, rule, moved, now)));
    areSettled &&= moved.length < boardsAtOnce;
  }
  const due = taken.isDrained ? await readDueStates(manager, tenantId, rules, { now, limit: dueAtOnce }) : [];
  changes.push(...(await takeDue(manager, due, changes, now)));
  await taken.drop();
  const written = await writeChanges(manager, changes, { now, quotas });
  return {
    ...written,
    evaluated: taken.streams.reduce((sum, { readings }) => sum + readings.length, 0),
    waitedMs: taken.storedAt === undefined ? undefined : Math.max(0, now - taken.storedAt),
    isDone: taken.isDrained && areSettled && due.length < dueAtOnce,
  };
}

/** Those that have just been looked at have had their time with their readings. */
async function takeDue(
  manager: EntityManager,
  due: readonly Watched[],
  changes: readonly Change[],
  now: number,
): Promise<Change[]> {
  const seen = new Set(
    changes.map(({ watched }) => `${watched.rule.id} ${watched.streamId} ${watched.boardUuid}`),
  );
  const left = due.filter(
    ({ rule, streamId, boardUuid }) => !seen.has(`${rule.id} ${streamId} ${boardUuid}`),
  );
  const boards = left.filter(({ streamId }) => streamId === 0);
  const streams = left
    .filter(({ streamId }) => streamId !== 0)
    .map((watched) => {
      const take = watched.rule.condition.kind === 'noData' ? takeSilence : takeTime;
      return { watched, step: take(watched.rule, watched.watch, now) };
    });
  return [...streams, ...(await judge(manager, boards, now))];
}
