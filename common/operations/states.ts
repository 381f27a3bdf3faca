/**
 * The states of an operation and of each of its targets.
 *
 *   queued ──► dispatched ──► accepted ──► running ──► succeeded | failed | cancelled | unknown
 *     │  ▲          │             (the board's journal has it)
 *     │  └──────────┴── not delivered, or failed with attempts left
 *     └──► expired | cancelled
 *
 * `dispatched` says no more than that it was sent: only the board's own word makes it `accepted`.
 * `unknown` is an end for whoever waits, and the one end that may still change: the board's journal
 * can tell what happened.
 */
export const targetStates = [
  'queued',
  'dispatched',
  'accepted',
  'running',
  'succeeded',
  'failed',
  'expired',
  'cancelled',
  'unknown',
] as const;
export type TargetState = (typeof targetStates)[number];

export const endedTargetStates = ['succeeded', 'failed', 'expired', 'cancelled', 'unknown'] as const;
const ended: ReadonlySet<TargetState> = new Set<TargetState>(endedTargetStates);

export function isEnded(state: TargetState): boolean {
  return ended.has(state);
}

/** From → to. What is not here is a fault of ours, and refused. */
const transitions: Record<TargetState, readonly TargetState[]> = {
  // From queued straight on: a result that came while the answer to the dispatch was lost, and offline schedules.
  queued: targetStates,
  dispatched: targetStates,
  accepted: ['queued', 'accepted', 'running', ...endedTargetStates],
  running: ['queued', 'running', ...endedTargetStates],
  // Told by the journal, or retried by hand, as all that did not succeed.
  unknown: ['queued', ...endedTargetStates],
  succeeded: [],
  failed: ['queued'],
  expired: ['queued'],
  cancelled: ['queued'],
};

export function mayBecome(from: TargetState, to: TargetState): boolean {
  return transitions[from].includes(to);
}

/**
 * `preparing`: its targets are still being written. `active`: some target has not ended. `succeeded`:
 * all did. `failed`: all ended, not all with success. `cancelled`: ended by its cancellation.
 */
export const operationStates = ['preparing', 'active', 'succeeded', 'failed', 'cancelled'] as const;
export type OperationState = (typeof operationStates)[number];

/** `waiting`: for the approval of the next wave. `aborted` and `finished` are ends. */
export const rolloutStates = ['running', 'paused', 'waiting', 'aborted', 'finished'] as const;
export type RolloutState = (typeof rolloutStates)[number];
