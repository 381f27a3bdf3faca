/**
 * Why an operation is not done yet, in words. Pure: what is known goes in, at most a hundred lines
 * come out, first those of the operation as a whole, then one for each board that is not done.
 */
import type { BoardStatus } from '../../common/db/entities/boards.ts';
import type { Delivery } from '../../common/db/entities/operations.ts';
import type { OperationState, RolloutState, TargetState } from '../../common/operations/states.ts';
import { type DailyWindow, windowState } from '../../common/operations/window.ts';
import type { Schemas } from '../http/operation.ts';

export type WaitingLine = Schemas['OperationTimeline']['waiting'][number];

/** A target that has not ended, or whose end is unknown. */
export interface WaitingTarget {
  board: string;
  /** null = the board was deleted. */
  name: string | null;
  status: BoardStatus | null;
  lastSeenAt: Date | null;
  state: TargetState;
  /** Held back by the rollout. */
  isHeld: boolean;
  attempt: number;
  notBefore: Date | null;
  cancelRequested: boolean;
  dispatchedAt: Date | null;
  acceptedAt: Date | null;
  progress: { percent?: number; message?: string } | null;
  error: { message?: string } | null;
  /** Operation that is in front of it on its board, or `another`. */
  behind: string | null;
}

/** One that whoever asks may not know of. */
export const another = 'another';

export interface WaitingRollout {
  state: RolloutState;
  reason: string | null;
  wave: number;
  waves: number;
  /** Of the open wave: not yet let in, and let in but not ended. */
  held: number;
  open: number;
  perMinute: number | null;
}

export interface WaitingFacts {
  now: number;
  state: OperationState;
  delivery: Delivery;
  window: DailyWindow | null;
  targetCount: number;
  /** Target rows that exist. */
  written: number;
  rollout: WaitingRollout | null;
  targets: readonly WaitingTarget[];
  /** Further ones that are not among `targets`. */
  more: number;
}

export const maxLines = 100;

export function explainWaiting(facts: WaitingFacts): WaitingLine[] {
  const opensAt = closedUntil(facts);
  const general = [
    ...explainPreparing(facts),
    ...(facts.rollout ? explainRollout(facts.rollout) : []),
    ...(opensAt === undefined ? [] : explainWindow(facts, opensAt)),
  ];
  const boards = facts.targets.flatMap((target) => explainTarget(target, facts, opensAt) ?? []);
  return [...general, ...shorten(boards, maxLines - general.length, facts.more)];
}

function explainPreparing({ state, written, targetCount }: WaitingFacts): WaitingLine[] {
  if (state !== 'preparing') return [];
  return [line('preparing', `its targets are being written: ${written} of ${targetCount} so far`)];
}

function explainRollout({
  state,
  reason,
  wave,
  waves,
  held,
  open,
  perMinute,
}: WaitingRollout): WaitingLine[] {
  if (state === 'paused') return [line('paused', `the rollout is paused${reason ? `: ${reason}` : ''}`)];
  if (state === 'waiting')
    return [line('approval', `wave ${Math.min(wave + 1, waves)} of ${waves} waits for approval`)];
  if (state !== 'running') return [];
  if (wave === 0) return [line('wave', `wave 1 of ${waves} is about to open`)];
  const lines: WaitingLine[] = [];
  if (held > 0 && perMinute !== null)
    lines.push(
      line(
        'rate',
        `wave ${wave} of ${waves} lets ${perMinute} boards in a minute; ${held} wait for their turn`,
      ),
    );
  if (wave < waves && held + open > 0)
    lines.push(line('wave', `wave ${wave + 1} of ${waves} waits for ${count(held + open, 'board')}`));
  return lines;
}

function closedUntil({ delivery, window, now, targets }: WaitingFacts): number | undefined {
  if (delivery !== 'window' || !window || !targets.some(({ state }) => state === 'queued')) return undefined;
  const state = windowState(window, now);
  return state.open ? undefined : state.opensAt;
}

function explainWindow({ window }: WaitingFacts, opensAt: number): WaitingLine[] {
  const text = `the window opens at ${window?.from} ${window?.timeZone}`;
  return [{ ...line('window', text), until: new Date(opensAt).toISOString() }];
}

/** Undefined for what a line of the whole operation says already. */
function explainTarget(
  target: WaitingTarget,
  { now }: WaitingFacts,
  opensAt: number | undefined,
): WaitingLine | undefined {
  const { board, state, dispatchedAt, acceptedAt } = target;
  const here = (reason: string, text: string): WaitingLine => ({ board, reason, text });
  const name = `board ${target.name ?? board}`;
  const away = absence(target, now);
  const alsoAway = away ? `; ${away}` : '';
  if (state === 'unknown') {
    const why = target.error?.message ? `: ${target.error.message}` : '';
    const when = away ? `can tell when it is back; ${away}` : 'can tell (POST …/resolve asks it)';
    return here('journal', `whether it ran on ${name} is unknown${why}. Its journal ${when}`);
  }
  if (state === 'queued') return explainQueued(target, name, away, now, opensAt);
  if (target.cancelRequested) return here('cancelling', `${name} has it and is told to stop${alsoAway}`);
  if (state === 'dispatched')
    return here('dispatched', `sent to ${name} at ${clock(dispatchedAt)}, no answer yet${alsoAway}`);
  const since = acceptedAt ? ` since ${clock(acceptedAt)}` : '';
  return here('running', `${name} has had it${since}${progressOf(target)}${alsoAway}`);
}

function explainQueued(
  { board, isHeld, notBefore, cancelRequested, attempt, behind }: WaitingTarget,
  name: string,
  away: string | undefined,
  now: number,
  opensAt: number | undefined,
): WaitingLine | undefined {
  const here = (reason: string, text: string): WaitingLine => ({ board, reason, text });
  if (isHeld || opensAt !== undefined) return undefined;
  if (cancelRequested) return here('cancelling', `${name} is about to be cancelled`);
  if (notBefore && notBefore.getTime() > now) {
    const until = notBefore.toISOString();
    // Before any attempt it is the schedule that spreads its boards' beginnings.
    if (attempt === 0)
      return { ...here('not-before', `${name} is not sent it before ${clock(notBefore)}`), until };
    return { ...here('back-off', `attempt ${attempt} on ${name} waits until ${clock(notBefore)}`), until };
  }
  if (away) return here('board-offline', away);
  if (behind === another) return here('order', `it waits for another operation on ${name}`);
  if (behind !== null) return here('order', `it waits for operation ${behind} on ${name}`);
  return here('queue', `${name} is online and is sent it next`);
}

/** Why the board cannot be reached; undefined while it is online. */
function absence({ board, name, status, lastSeenAt }: WaitingTarget, now: number): string | undefined {
  const what = `board ${name ?? board}`;
  if (status === 'online') return undefined;
  if (status === null) return `${what} was deleted`;
  if (status === 'revoked') return `${what} is revoked`;
  if (lastSeenAt === null) return `${what} has never been online`;
  return `${what} was last seen ${clock(lastSeenAt)} (${ago(now - lastSeenAt.getTime())})`;
}

function progressOf({ progress }: WaitingTarget): string {
  if (!progress) return '';
  const parts = [
    progress.percent === undefined ? [] : [`${progress.percent} %`],
    progress.message ?? [],
  ].flat();
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}

const summaries: Record<string, (boards: number) => string> = {
  'board-offline': (n) => `and ${more(n)} ${are(n)} offline`,
  journal: (n) => `and what became of it on ${more(n)} is unknown`,
  'back-off': (n) => `and ${more(n)} ${n === 1 ? 'waits' : 'wait'} for another attempt`,
  'not-before': (n) => `and ${more(n)} ${n === 1 ? 'begins' : 'begin'} later`,
  order: (n) => `and ${more(n)} ${are(n)} busy with other operations`,
  dispatched: (n) => `and ${more(n)} ${n === 1 ? 'has' : 'have'} not answered yet`,
  running: (n) => `and ${more(n)} ${n === 1 ? 'has' : 'have'} it`,
  cancelling: (n) => `and ${more(n)} ${are(n)} told to stop`,
  queue: (n) => `and ${more(n)} ${are(n)} sent it next`,
};

/** Not more than `room` lines: of those that have no place only how many there are, by reason. */
function shorten(lines: readonly WaitingLine[], room: number, uncounted: number): WaitingLine[] {
  const others = uncounted > 0 ? [line('more', `and ${more(uncounted)} ${are(uncounted)} not done`)] : [];
  if (lines.length + others.length <= room) return [...lines, ...others];
  const reasons = new Set(lines.map(({ reason }) => reason));
  const shown = lines.slice(0, room - others.length - reasons.size);
  const left = Map.groupBy(lines.slice(shown.length), ({ reason }) => reason);
  const summed = [...left].map(([reason, { length }]) =>
    line(reason, summaries[reason]?.(length) ?? `and ${more(length)} ${are(length)} not done`),
  );
  return [...shown, ...summed, ...others];
}

function line(reason: string, text: string): WaitingLine {
  return { board: null, reason, text };
}

const count = (n: number, word: string) => `${n} ${word}${n === 1 ? '' : 's'}`;
const more = (n: number) => `${n} more ${n === 1 ? 'board' : 'boards'}`;
const are = (n: number) => (n === 1 ? 'is' : 'are');

function clock(at: Date | null): string {
  return at === null ? 'an unknown time' : `${at.toISOString().slice(0, 19)}Z`;
}

function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  if (hours < 48) return `${hours} h ago`;
  return `${Math.round(hours / 24)} days ago`;
}
