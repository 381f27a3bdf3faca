/**
 * Reports of boards into the database: read the targets, decide (common/operations/apply-report.ts),
 * write by compare-and-set with the evidence, end operations, make boards ready. One transaction; who
 * lost a race goes round again with fresh eyes, a few times at the most.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { findIncomplete } from '../../common/db/queries/artifacts.ts';
import { readyBoards } from '../../common/db/queries/board-queues.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { changeTargets, type TargetChange } from '../../common/db/queries/operation-changes.ts';
import { endOperations } from '../../common/db/queries/operation-ends.ts';
import { insertOperationEvents, type NewOperationEvent } from '../../common/db/queries/operation-events.ts';
import { applyReport, type ReportDecision, type ReportSource } from '../../common/operations/apply-report.ts';
import { isEnded } from '../../common/operations/states.ts';
import { endedReportStates, type OperationReport } from '../../common/wamp/operations.ts';
import { createAttemptLimit } from '../auth/attempt-limit.ts';
import { insertOfflineRuns, type MayTell, offlineRunOf } from './offline-runs.ts';
import { createProgressLimit, type ProgressLimit } from './progress-limit.ts';
import { findTargets, keyOf, type TargetOfBoard } from './target-queries.ts';

export interface HeardReport {
  board: { uuid: string; tenantId: string };
  source: ReportSource;
  report: OperationReport;
}

export type ReportOutcome =
  | 'changed'
  | Extract<ReportDecision, { kind: 'ignore' }>['why']
  /** It, or its board's part in it, was deleted. */
  | 'unknown-operation'
  | 'unknown-schedule'
  /** Not taken now: it told too many due times that their schedules do not have. */
  | 'too-many-runs'
  /** Not taken: some of its artifacts are not in the store yet. */
  | 'artifacts-missing'
  /** Not taken: others kept changing the target. */
  | 'contended';

/** What need not be said again. */
export function isTaken(outcome: ReportOutcome): boolean {
  return outcome !== 'artifacts-missing' && outcome !== 'contended' && outcome !== 'too-many-runs';
}

export interface WrittenReports {
  /** In the order of the reports. */
  outcomes: ReportOutcome[];
  /** Boards that have something to do now. */
  readied: string[];
  /** Operations that have ended. */
  ended: string[];
}

export type ReportWriter = (reports: readonly HeardReport[]) => Promise<WrittenReports>;

/** Of due times that their schedule does not have: each makes rows, and room for files. */
const strangeRuns = { attempts: 60, windowMs: 3_600_000 } as const;
/** Of what contradicts an end, a row in this time for each target and kind of end. */
const notesEveryMs = 3_600_000;

const maxRounds = 6;
const deadlineMs = 10_000;

export function createReportWriter(database: Database, now: () => number = Date.now): ReportWriter {
  const strange = createAttemptLimit(strangeRuns);
  const limits: RoundLimits = {
    mayTell(boardUuid) {
      if (strange.retryAfterSeconds(boardUuid) > 0) return false;
      strange.count(boardUuid);
      return true;
    },
    notes: createProgressLimit(undefined, notesEveryMs),
  };
  return async (reports) => {
    const outcomes = reports.map((): ReportOutcome => 'contended');
    const readied = new Set<string>();
    const ended = new Set<string>();
    const shared = new Set<string>();
    let open = [...reports.keys()];
    for (let round = 0; round < maxRounds && open.length > 0; round += 1) {
      const [part, later] = firstOfEachTarget(reports, open);
      const written = await database.transaction(
        (manager) =>
          writeRound(
            manager,
            part.map((index) => reports[index] as HeardReport),
            now(),
            limits,
          ),
        { repeatable: true, deadlineMs },
      );
      for (const [position, index] of part.entries())
        outcomes[index] = written.outcomes[position] ?? 'contended';
      for (const each of written.readied) readied.add(each);
      for (const each of written.ended) ended.add(each);
      for (const each of written.shared) shared.add(each);
      open = [...part.filter((index) => outcomes[index] === 'contended'), ...later];
    }
    for (const each of await endShared(database, [...shared])) ended.add(each);
    return { outcomes, readied: [...readied], ended: [...ended] };
  };
}

/** Two reports of one target are decided on one after the other. */
function firstOfEachTarget(reports: readonly HeardReport[], open: readonly number[]): [number[], number[]] {
  const seen = new Set<string>();
  const part: number[] = [];
  const later: number[] = [];
  for (const index of open) {
    const { board, report } = reports[index] as HeardReport;
    const key = keyOf({ boardUuid: board.uuid, operationId: report.operationId });
    if (seen.has(key)) later.push(index);
    else part.push(index);
    seen.add(key);
  }
  return [part, later];
}

/** After the commit: two targets that end at once do not see each other before. */
async function endShared(database: Database, operationIds: readonly string[]): Promise<string[]> {
  if (operationIds.length === 0) return [];
  const events = await database.transaction(
    async (manager) => {
      const events = await endOperations(manager, operationIds);
      await appendEvents(manager, events);
      return events;
    },
    { repeatable: true, deadlineMs },
  );
  return events.map((each) => String(each.payload.operation));
}

interface Round extends WrittenReports {
  /** Operations with several targets, of which one has ended: to be looked at after the commit. */
  shared: string[];
}

interface Decided {
  index: number;
  heard: HeardReport;
  target: TargetOfBoard;
  decision: ReportDecision;
}

/** What one board may have written for nothing but its word. */
interface RoundLimits {
  mayTell: MayTell;
  notes: ProgressLimit;
}

async function writeRound(
  manager: EntityManager,
  reports: HeardReport[],
  now: number,
  { mayTell, notes }: RoundLimits,
): Promise<Round> {
  const outcomes = reports.map((): ReportOutcome => 'unknown-operation');
  const { targets, refused, made, created } = await findOrMakeTargets(manager, reports, mayTell);
  const decided: Decided[] = [];
  for (const [index, heard] of reports.entries()) {
    const key = keyOfReport(heard);
    const target = targets.get(key);
    const refusal = refused.get(key);
    if (refusal) outcomes[index] = refusal;
    // Another agent makes it at this moment: its row shows in the next round.
    else if (!target && made.has(key)) outcomes[index] = 'contended';
    else if (target) {
      const decision = applyReport(target, heard.report, heard.source, { now });
      decided.push({ index, heard, target, decision });
      outcomes[index] = decision.kind === 'ignore' ? decision.why : 'changed';
    }
  }
  const incomplete = await findIncompleteEnds(manager, decided);
  for (const { index } of incomplete) outcomes[index] = 'artifacts-missing';
  const valid = decided.filter((each) => !incomplete.has(each));

  const changes = valid.flatMap(toChange);
  const { applied, events } = await changeTargets(manager, changes);
  const held = new Set(applied.map(keyOf));
  for (const { index, decision, target } of valid)
    if (decision.kind === 'change' && !held.has(keyOf(target))) outcomes[index] = 'contended';
  await insertOperationEvents(
    manager,
    valid.flatMap(toNote).filter((note) => notes.take(nameOf(note))),
  );

  const { alone, shared } = endedOperations(valid, held, made);
  const operationEvents = await endOperations(manager, alone);
  const readied = applied
    .filter(({ operationId, boardUuid, set }) => {
      const left = set.state !== undefined && (isEnded(set.state) || set.state === 'queued');
      return left || made.has(keyOf({ operationId, boardUuid }));
    })
    .map(({ boardUuid, tenantId }) => ({ boardUuid, tenantId }));
  await readyBoards(manager, readied);
  await appendEvents(manager, [...created, ...events, ...operationEvents]);
  return {
    outcomes,
    readied: readied.map((each) => each.boardUuid),
    ended: operationEvents.map((each) => String(each.payload.operation)),
    shared,
  };
}

const keyOfReport = ({ board, report }: HeardReport) =>
  keyOf({ boardUuid: board.uuid, operationId: report.operationId });

async function findOrMakeTargets(manager: EntityManager, reports: readonly HeardReport[], mayTell: MayTell) {
  const keys = reports.map(({ board, report }) => ({
    boardUuid: board.uuid,
    operationId: report.operationId,
  }));
  const targets = await findTargets(manager, keys);
  const runs = reports.flatMap((heard) => {
    const run = targets.has(keyOfReport(heard)) ? undefined : offlineRunOf(heard.board, heard.report);
    return run ? [run] : [];
  });
  const { known, tooMany, events } = await insertOfflineRuns(manager, runs, mayTell);
  for (const [key, target] of await findTargets(manager, known)) targets.set(key, target);
  const made = new Set(known.map(keyOf));
  const refused = new Map<string, ReportOutcome>();
  for (const key of runs.map(keyOf)) if (!made.has(key)) refused.set(key, 'unknown-schedule');
  for (const key of tooMany.map(keyOf)) refused.set(key, 'too-many-runs');
  return { targets, refused, made, created: events };
}

async function findIncompleteEnds(
  manager: EntityManager,
  decided: readonly Decided[],
): Promise<Set<Decided>> {
  const ends = decided
    .filter(({ heard, decision }) => decision.kind === 'change' && endedReportStates.has(heard.report.state))
    .map((each) => ({
      each,
      boardUuid: each.target.boardUuid,
      operationId: each.target.operationId,
      attempt: each.heard.report.attempt,
      artifacts: each.heard.report.artifacts ?? [],
    }));
  return new Set((await findIncomplete(manager, ends)).map(({ each }) => each));
}

function toChange({ target, decision }: Decided): TargetChange[] {
  if (decision.kind === 'ignore') return [];
  const { boardUuid, operationId, tenantId, version, state: from } = target;
  return [{ boardUuid, operationId, tenantId, version, from, set: decision.values, event: decision.event }];
}

/** What changes nothing, and is yet worth a row. */
function toNote({ target, decision }: Decided): NewOperationEvent[] {
  if (decision.kind === 'change' || !decision.event) return [];
  return [{ operationId: target.operationId, boardUuid: target.boardUuid, ...decision.event }];
}

const nameOf = ({ boardUuid, operationId, evidence }: NewOperationEvent) =>
  `${boardUuid} ${operationId} ${String(evidence.report)}`;

/**
 * Operations that may have ended by this. A repeated report of an end counts too: whoever wrote the
 * end may have died before it looked at the operation.
 */
function endedOperations(decided: readonly Decided[], held: ReadonlySet<string>, made: ReadonlySet<string>) {
  const alone: string[] = [];
  const shared: string[] = [];
  for (const { target, decision } of decided) {
    const after = decision.kind === 'change' ? (decision.values.state ?? target.state) : target.state;
    const isWritten =
      decision.kind === 'change' ? held.has(keyOf(target)) : target.operationState === 'active';
    if (!isEnded(after) || !isWritten) continue;
    const isAlone = target.targetCount === 1;
    if (isAlone) alone.push(target.operationId);
    // One that was made just now may get more targets, by other boards at the same moment.
    if (!isAlone || made.has(keyOf(target))) shared.push(target.operationId);
  }
  return { alone, shared };
}
