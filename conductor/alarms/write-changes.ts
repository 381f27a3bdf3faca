/** Writes what an evaluation came to: states, alarms with their operations, and the events at last. */
import type { EntityManager } from 'typeorm';
import type { Transition } from '../../common/alarms/watch.ts';
import { type AlarmRow, alarmEvent } from '../../common/db/queries/alarms.ts';
import { appendEvents, type NewEvent } from '../../common/db/queries/events.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { timeUuid } from '../../common/runtime/time-uuid.ts';
import { startAction } from './actions.ts';
import {
  clearedRow,
  evidenceOf,
  insertAlarms,
  type OpenAlarm,
  readAlarms,
  updateAlarm,
} from './alarm-rows.ts';
import type { Change } from './streams.ts';
import { deleteStates, type Watched, writeStates } from './watched.ts';

export interface Written {
  raised: number;
  cleared: number;
  /** Boards that have something to do. */
  boards: string[];
}

export interface WriteOptions {
  now: number;
  quotas: QuotaLimits;
}

/** Called once per transaction, as its last statements: it appends events. */
export async function writeChanges(
  manager: EntityManager,
  changes: readonly Change[],
  options: WriteOptions,
): Promise<Written> {
  const moved = changes.filter(({ step }) => step.transitions.length > 0);
  const run: Run = {
    ...options,
    written: { raised: 0, cleared: 0, boards: [] },
    names: await readBoardNames(manager, moved),
    alarms: await readOpen(manager, moved),
    events: [],
  };
  const open = new Map<Change, string | null>();
  for (const change of moved) open.set(change, await follow(manager, change, run));
  const states = changes.map((change) => ({
    ...change.watched,
    watch: change.step.watch,
    alarmId: open.has(change) ? (open.get(change) ?? null) : change.watched.alarmId,
  }));
  // What is cleared before what is new: of a rule and stream one alarm is open, by a key.
  for (const { row, isNew, isChanged } of run.alarms.values())
    if (!isNew && isChanged) await updateAlarm(manager, row);
  await insertAlarms(
    manager,
    [...run.alarms.values()].filter(({ isNew }) => isNew),
  );
  // A board that is well again is watched by its events.
  const isDone = ({ streamId, watch }: Watched) => streamId === 0 && watch.phase === 'ok';
  await writeStates(
    manager,
    states.filter((each) => !isDone(each)),
  );
  await deleteStates(manager, states.filter(isDone));
  await appendEvents(manager, run.events);
  return run.written;
}

interface Run extends WriteOptions {
  written: Written;
  /** By uuid; boards that are gone have none. */
  names: ReadonlyMap<string, string>;
  alarms: Map<string, OpenAlarm>;
  events: NewEvent[];
}

/** Transition by transition; answers with the id of the alarm that is open after them. */
async function follow(manager: EntityManager, { watched, step }: Change, run: Run): Promise<string | null> {
  let alarm = watched.alarmId === null ? undefined : run.alarms.get(watched.alarmId);
  let acted: Acted | undefined;
  for (const transition of step.transitions) {
    if (transition.kind === 'raise') {
      const boardName = run.names.get(watched.boardUuid);
      // Its board was deleted just now: the sweep takes care of the state.
      if (boardName === undefined) return null;
      alarm = newAlarm(watched, transition, boardName, run.now);
      run.alarms.set(alarm.row.id, alarm);
      run.written.raised += 1;
    } else {
      if (!alarm) continue;
      alarm.row = clearedRow(alarm.row, { reason: 'condition', transition, now: run.now });
      alarm.isChanged = true;
      run.written.cleared += 1;
    }
    // What comes again within one evaluation is the same matter: one operation is enough.
    if (watched.rule.action?.on === transition.kind) {
      acted ??= await act(manager, watched, alarm, run);
      alarm.row = { ...alarm.row, ...acted };
      alarm.isChanged = true;
    }
    run.events.push(eventOf(alarm.row, transition));
    if (transition.kind === 'clear') alarm = undefined;
  }
  return alarm?.row.id ?? null;
}

type Acted = Pick<AlarmRow, 'operationId' | 'actionError'>;

async function act(
  manager: EntityManager,
  { rule }: Watched,
  alarm: OpenAlarm,
  run: Run,
): Promise<Acted | undefined> {
  const { action } = rule;
  if (!action) return undefined;
  const { now, quotas } = run;
  const started = await startAction(manager, { rule, action, alarm: alarm.row, now, quotas });
  run.events.push(...started.events);
  if (started.operationId !== null) run.written.boards.push(started.board);
  return { operationId: started.operationId, actionError: started.error };
}

function newAlarm(watched: Watched, transition: Transition, boardName: string, now: number): OpenAlarm {
  const { rule, boardUuid, stream } = watched;
  const { since, reading, peak, peakAt } = transition;
  const row: AlarmRow = {
    id: timeUuid(now),
    tenantId: rule.tenantId,
    ruleId: rule.id,
    ruleName: rule.name,
    severity: rule.severity,
    boardUuid,
    boardName,
    stream,
    state: 'raised',
    since,
    raisedAt: new Date(now),
    value: reading?.value ?? null,
    peak,
    peakAt,
    acknowledgedAt: null,
    acknowledgedBy: null,
    comment: null,
    clearedAt: null,
    clearReason: null,
    clearedValue: null,
    evidence: {
      raised: { ...evidenceOf(transition), condition: rule.condition, forSeconds: rule.forSeconds },
    },
    operationId: null,
    actionError: null,
  };
  return { row, streamId: watched.streamId, revision: rule.revision, isNew: true, isChanged: false };
}

function eventOf(row: AlarmRow, { kind, reading }: Transition): NewEvent {
  const value = reading?.value ?? null;
  const did = { operation: row.operationId, actionError: row.actionError };
  return kind === 'raise'
    ? alarmEvent(row, { state: 'raised', change: 'raised', value, ...did })
    : alarmEvent(row, { state: 'cleared', change: 'cleared', value, reason: 'condition', ...did });
}

async function readBoardNames(
  manager: EntityManager,
  moved: readonly Change[],
): Promise<Map<string, string>> {
  const raising = moved.filter(({ step }) => step.transitions.some(({ kind }) => kind === 'raise'));
  if (raising.length === 0) return new Map();
  const rows = (await manager.query('SELECT uuid, name FROM boards WHERE uuid IN (?)', [
    [...new Set(raising.map(({ watched }) => watched.boardUuid))],
  ])) as { uuid: string; name: string }[];
  return new Map(rows.map(({ uuid, name }) => [uuid, name]));
}

async function readOpen(manager: EntityManager, moved: readonly Change[]): Promise<Map<string, OpenAlarm>> {
  const open = moved.flatMap(({ watched }) => (watched.alarmId === null ? [] : [watched]));
  const rows = await readAlarms(
    manager,
    open.map(({ alarmId }) => alarmId as string),
  );
  const byId = new Map(open.map((each) => [each.alarmId, each]));
  return new Map(
    rows.map((row) => {
      const { streamId = 0, rule } = byId.get(row.id) ?? {};
      return [row.id, { row, streamId, revision: rule?.revision ?? 0, isNew: false, isChanged: false }];
    }),
  );
}
