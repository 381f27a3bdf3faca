/**
 * Is this number of a device new? The last 64 numbers are remembered with a hash of their messages,
 * so that the same number with another content is a device that counts anew, not a repeat.
 *
 *   higher than all          new; what was jumped over is missed
 *   in the window, not seen  late, and no longer missed
 *   in the window, the same  duplicate
 *   in the window, another   restarted
 *   below the window         restarted
 *
 * A device that signs must not count anew: an old message, sent again by somebody else, would look
 * like that. Of such a device everything that is not higher or late is a duplicate.
 */
import type { SequenceCounts } from '../../common/wamp/modules.ts';

export const windowSize = 64;

export interface SequenceState {
  /** The highest; null before the first. */
  last: number | null;
  /** Numbers from here on that have not come are counted as missed. */
  floor: number;
  /** Two words of hash for each number, at `number % 64`; two zeros = not seen. */
  seen: Uint32Array;
}

export interface NumberedMessage {
  seq: number;
  /** 8 bytes of a hash of what came; never zero. */
  hash: readonly [number, number];
  signed: boolean;
  /**
   * A message that had been put aside, and comes when newer ones have come: it never counts as a
   * restart or, below the window, as a repeat.
   */
  replayed?: boolean;
}

export type Counts = Pick<SequenceCounts, 'received' | 'duplicate' | 'missed' | 'late' | 'restarted'>;

export function createSequence(): SequenceState {
  return { last: null, floor: 0, seen: new Uint32Array(2 * windowSize) };
}

export function copySequence({ last, floor, seen }: SequenceState): SequenceState {
  return { last, floor, seen: seen.slice() };
}

/** Changes state and counts. False for a duplicate. */
export function takeNumber(state: SequenceState, counts: Counts, message: NumberedMessage): boolean {
  const { seq } = message;
  const isNew =
    state.last === null || seq > state.last ? goOn(state, counts, seq) : goBack(state, counts, message);
  if (!isNew) {
    counts.duplicate += 1;
    return false;
  }
  remember(state, message);
  counts.received += 1;
  return true;
}

function goOn(state: SequenceState, counts: Counts, seq: number): true {
  if (state.last === null) {
    state.floor = seq;
  } else {
    counts.missed = Math.min(Number.MAX_SAFE_INTEGER, counts.missed + (seq - state.last - 1));
    if (seq - state.last >= windowSize) state.seen.fill(0);
    else for (let each = state.last + 1; each < seq; each += 1) forget(state, each);
  }
  state.last = seq;
  return true;
}

/** A number that is not higher than the last. */
function goBack(
  state: SequenceState,
  counts: Counts,
  { seq, hash, signed, replayed }: NumberedMessage,
): boolean {
  const isInWindow = seq > (state.last ?? 0) - windowSize;
  const known = isInWindow ? hashAt(state, seq) : undefined;
  if (known === undefined && (isInWindow || replayed)) {
    counts.late += 1;
    if (isInWindow && seq >= state.floor) counts.missed = Math.max(0, counts.missed - 1);
    return true;
  }
  if (signed || replayed) return false;
  if (known && known[0] === hash[0] && known[1] === hash[1]) return false;
  counts.restarted += 1;
  state.seen.fill(0);
  state.last = seq;
  state.floor = seq;
  return true;
}

function remember(state: SequenceState, { seq, hash }: NumberedMessage): void {
  if (seq <= (state.last ?? 0) - windowSize) return;
  const at = 2 * (seq % windowSize);
  state.seen[at] = hash[0];
  state.seen[at + 1] = hash[1];
}

function forget(state: SequenceState, seq: number): void {
  const at = 2 * (seq % windowSize);
  state.seen[at] = 0;
  state.seen[at + 1] = 0;
}

/** undefined when the number has not come. */
function hashAt({ seen }: SequenceState, seq: number): [number, number] | undefined {
  const at = 2 * (seq % windowSize);
  const hash: [number, number] = [seen[at] ?? 0, seen[at + 1] ?? 0];
  return hash[0] === 0 && hash[1] === 0 ? undefined : hash;
}
