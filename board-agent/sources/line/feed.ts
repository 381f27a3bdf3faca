/**
 * Lines into the intake, in order. Nothing further is read while the spool takes nothing: a file
 * keeps its lines, and a command waits for its pipe.
 */
import { type Clock, pause } from '../../clock.ts';
import type { IntakeDoor, RawMessage } from '../../intake/types.ts';
import type { Line } from './split-lines.ts';

export interface FeedOptions {
  door: IntakeDoor;
  clock: Clock;
  path: string;
}

/** Lines that are in the intake at a time: they share a commit. */
const atOnce = 256;

export interface FeedRequest {
  lines: readonly Line[];
  /** The same for the same line of the same file, also after a restart. */
  transmissionOf?: (line: Line) => string;
  signal: AbortSignal;
  /** Everything before `end` is dealt with. */
  onDone?: (end: number) => void;
}

/** Resolves when all are dealt with, or the signal aborts. Empty lines say nothing. */
export async function feedLines(options: FeedOptions, request: FeedRequest): Promise<void> {
  const { lines, transmissionOf, signal, onDone } = request;
  for (let from = 0; from < lines.length && !signal.aborted; from += atOnce) {
    const group = lines.slice(from, from + atOnce);
    const messages = group
      .filter((line) => line.content.length > 0)
      .map((line) => ({
        path: options.path,
        payload: line.content,
        ...(transmissionOf && { transmission: transmissionOf(line) }),
      }));
    await takeAll(options, messages, signal);
    const last = group.at(-1);
    if (last && !signal.aborted) onDone?.(last.end);
  }
}

async function takeAll(
  { door, clock }: FeedOptions,
  messages: readonly RawMessage[],
  signal: AbortSignal,
): Promise<void> {
  let open = messages;
  while (open.length > 0 && !signal.aborted) {
    const outcomes = await Promise.all(open.map((each) => door.take(each)));
    let waitSeconds = 0;
    open = open.filter((_, index) => {
      const outcome = outcomes[index];
      if (outcome?.status !== 'unavailable') return false;
      waitSeconds = Math.max(waitSeconds, outcome.retryAfterSeconds);
      return true;
    });
    if (open.length > 0) await pause(clock, waitSeconds * 1000, signal);
  }
}
