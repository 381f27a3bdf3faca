/**
 * Rollouts: the one place where their state changes, by compare-and-set on the version, with a row in
 * `operation_events` and a live event. People approve, pause, resume and abort; the conductor does the
 * rest (conductor/tasks/rollouts.ts). Each change is one transaction that may be repeated.
 *
 *   running ──► waiting (for approval of the next wave) ──► running, the wave is open
 *      │  ◄──► paused (by somebody, or because too few of a wave succeeded)
 *      └──► aborted | finished
 */
import type { EntityManager } from 'typeorm';
import type { RolloutOptions } from '../../operations/rollout.ts';
import type { RolloutState } from '../../operations/states.ts';
import { AppError } from '../../runtime/app-error.ts';
import type { JsonObject } from '../../runtime/guards.ts';
import { fromJsonColumn } from '../json-column.ts';
import type { NewEvent } from './events.ts';
import { insertOperationEvents } from './operation-events.ts';

export interface Rollout {
  operationId: string;
  tenantId: string;
  state: RolloutState;
  options: RolloutOptions;
  waves: number;
  /** The wave that is open, from 1; 0 = none yet. */
  wave: number;
  released: number;
  releasedAt: Date | null;
  version: number;
}

const columns = `r.operation_id AS operationId, r.tenant_id AS tenantId, r.state, r.options, r.waves, r.wave,
  r.released, r.released_at AS releasedAt, r.version`;

function toRollout(row: Omit<Rollout, 'options'> & { options: unknown }): Rollout {
  return { ...row, options: fromJsonColumn(row.options) };
}

export async function findRollout(manager: EntityManager, operationId: string): Promise<Rollout | undefined> {
  const [row] = (await manager.query(`SELECT ${columns} FROM rollouts r WHERE r.operation_id = ?`, [
    operationId,
  ])) as Parameters<typeof toRollout>[0][];
  return row && toRollout(row);
}

/** Rollouts that have not ended and whose targets are all written, in the order of their operations. */
export async function findOpenRollouts(
  manager: EntityManager,
  after: string,
  limit: number,
): Promise<Rollout[]> {
  const one = `(SELECT ${columns} FROM rollouts r JOIN operations o ON o.id = r.operation_id
                WHERE r.state = ? AND r.operation_id > ? AND o.state <> 'preparing' ORDER BY r.operation_id LIMIT ?)`;
  const states: RolloutState[] = ['running', 'waiting', 'paused'];
  const rows = (await manager.query(
    `${states.map(() => one).join(' UNION ALL ')} ORDER BY operationId LIMIT ?`,
    [...states.flatMap((state) => [state, after, limit]), limit],
  )) as Parameters<typeof toRollout>[0][];
  return rows.map(toRollout);
}

export interface WaveCounts {
  wave: number;
  /** Held back: not let into their queues yet. */
  held: number;
  /** Let in, and not ended. */
  open: number;
  succeeded: number;
  /** Failed, expired, unknown. */
  failed: number;
  cancelled: number;
}

/** By wave; read from one index, no rows. */
export async function countWaves(manager: EntityManager, operationId: string): Promise<WaveCounts[]> {
  const rows = (await manager.query(
    `SELECT wave, queue, state, COUNT(*) AS n FROM operation_targets
     WHERE operation_id = ? AND wave IS NOT NULL GROUP BY wave, queue, state`,
    [operationId],
  )) as { wave: number; queue: 0 | 1 | null; state: string; n: number | string }[];
  const waves = new Map<number, WaveCounts>();
  for (const { wave, queue, state, n } of rows) {
    const counts = waves.get(wave) ?? { wave, held: 0, open: 0, succeeded: 0, failed: 0, cancelled: 0 };
    const name =
      queue === 0
        ? 'held'
        : queue === 1
          ? 'open'
          : state === 'succeeded' || state === 'cancelled'
            ? state
            : 'failed';
    counts[name] += Number(n);
    waves.set(wave, counts);
  }
  return [...waves.values()].sort((left, right) => left.wave - right.wave);
}

export interface RolloutChange {
  state?: RolloutState;
  reason?: string | null;
  /** Opens this wave. */
  wave?: number;
  /** So many more were let in. */
  release?: { count: number; releasedAt: Date };
  event?: { kind: RolloutEventKind; evidence: JsonObject };
}

export type RolloutEventKind =
  | 'wave-opened'
  | 'waiting-approval'
  | 'approved'
  | 'paused'
  | 'resumed'
  | 'aborted'
  | 'finished';

/**
 * Undefined, and nothing written, when the rollout is not as it was read. Else the live events, for
 * appendEvents as the last statement of the transaction.
 */
export async function changeRollout(
  manager: EntityManager,
  rollout: Rollout,
  change: RolloutChange,
): Promise<NewEvent[] | undefined> {
  const { operationId, tenantId, version } = rollout;
  const { state, reason, wave, release, event } = change;
  const sets = [
    ...(state === undefined ? [] : [['state = ?', state]]),
    ...(reason === undefined ? [] : [['reason = ?', reason === null ? null : reason.slice(0, 300)]]),
    ...(wave === undefined ? [] : [['released = 0, wave = ?', wave]]),
    ...(release
      ? [
          ['released = released + ?', release.count],
          ['released_at = ?', release.releasedAt],
        ]
      : []),
  ];
  const result = (await manager.query(
    `UPDATE rollouts SET ${sets.map(([sql]) => `${String(sql)}, `).join('')}version = version + 1,
            updated_at = UTC_TIMESTAMP(3) WHERE operation_id = ? AND version = ?`,
    [...sets.map(([, value]) => value), operationId, version],
  )) as { affectedRows: number };
  if (result.affectedRows === 0) return undefined;
  if (!event) return [];
  await insertOperationEvents(manager, [{ operationId, boardUuid: null, ...event }]);
  const rolloutState = { state: state ?? rollout.state, wave: wave ?? rollout.wave, waves: rollout.waves };
  const payload = {
    operation: operationId,
    state: 'active',
    rollout: { ...rolloutState, ...(reason && { reason }) },
    at: new Date().toISOString(),
  };
  return [{ tenantId, boardUuid: null, type: 'operation', payload }];
}

/** What opening a wave writes. */
export function openWave(rollout: Rollout, wave: number, evidence: JsonObject = {}): RolloutChange {
  const event = { kind: 'wave-opened', evidence: { wave, of: rollout.waves, ...evidence } } as const;
  return { state: 'running', reason: null, wave, event };
}

export type RolloutCommand = 'approve' | 'pause' | 'resume' | 'abort';

/**
 * What somebody tells a rollout. Throws AppError `not-found` when there is none, `conflict` when its
 * state does not allow it. `resume` of a rollout that paused because too few of a wave succeeded
 * accepts that: the next wave opens. What an abort leaves unsent is cancelled by the conductor.
 * @param by `user:<id>` or `key:<id>`
 */
export async function commandRollout(
  manager: EntityManager,
  operationId: string,
  command: RolloutCommand,
  by: string,
  reason?: string,
): Promise<NewEvent[]> {
  const rollout = await findRollout(manager, operationId);
  if (!rollout) throw new AppError('not-found', 'this operation is no rollout');
  const { state, wave, waves } = rollout;
  if (!allowed[command].includes(state))
    throw new AppError('conflict', `a rollout that is ${state} cannot be told to ${command}`, {
      details: { state },
    });
  const counts = (await countWaves(manager, operationId)).find((each) => each.wave === wave);
  const isDone = wave > 0 && wave < waves && (counts?.held ?? 0) + (counts?.open ?? 0) === 0;
  const opens = command === 'approve' || (command === 'resume' && isDone) ? wave + 1 : undefined;
  const evidence = { by, wave: opens ?? wave, ...(reason !== undefined && { reason }) };
  const change: Record<RolloutCommand, RolloutChange> = {
    approve: { ...openWave(rollout, wave + 1), event: { kind: 'approved', evidence } },
    pause: {
      state: 'paused',
      reason: reason ?? 'paused by hand',
      event: { kind: 'paused', evidence },
    },
    resume: {
      state: 'running',
      reason: null,
      ...(opens !== undefined && { wave: opens }),
      event: { kind: 'resumed', evidence },
    },
    abort: {
      state: 'aborted',
      reason: reason ?? 'aborted by hand',
      event: { kind: 'aborted', evidence },
    },
  };
  const events = await changeRollout(manager, rollout, change[command]);
  if (!events) throw new AppError('conflict', 'the rollout has just changed', { details: { state } });
  return events;
}

const allowed: Record<RolloutCommand, readonly RolloutState[]> = {
  approve: ['waiting'],
  pause: ['running'],
  resume: ['paused'],
  abort: ['running', 'waiting', 'paused'],
};
