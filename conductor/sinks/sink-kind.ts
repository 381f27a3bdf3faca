/** What every kind of sink is to the delivery: it takes points, refuses some, or cannot just now. */
import type { SinkConfig } from '../../common/sinks/config.ts';

export interface SinkPoint {
  /** `<board>:<spool>:<sequence number>`: the same for the same reading, however often it is written. */
  id: string;
  /** uuid */
  board: string;
  boardName: string;
  /** `<module>/<measurement>` */
  stream: string;
  type: 'number' | 'boolean' | 'text';
  unit: string;
  /** Epoch milliseconds. */
  at: number;
  value: number | boolean | string;
}

export type WriteOutcome =
  /** All are durable at the target, but for those that it refused for good: index → why. */
  { outcome: 'written'; rejected: ReadonlyMap<number, string> } | Retry;

/** Of what is not settled some may be there. */
export interface Retry {
  outcome: 'retry';
  reason: string;
  afterMs?: number | undefined;
  /** The target may have taken them without saying so. */
  isOpen?: boolean;
  /** The first `count` are dealt with, as those of a written batch are. */
  settled?: { count: number; rejected: ReadonlyMap<number, string> };
}

/** How many from the first on are dealt with, also where the rest is to be tried again. */
export function settledOf(outcome: WriteOutcome, all: number): NonNullable<Retry['settled']> {
  if (outcome.outcome === 'written') return { count: all, rejected: outcome.rejected };
  return outcome.settled ?? { count: 0, rejected: new Map() };
}

export interface SinkTarget {
  /** In the order given. Never throws for what the target does. */
  write(points: readonly SinkPoint[], signal: AbortSignal): Promise<WriteOutcome>;
  close(): Promise<void>;
}

export interface TargetContext {
  sinkId: string;
  tenantId: string;
  config: SinkConfig;
  /** Of one request. */
  timeoutMs: number;
}

export function splitStream(stream: string): { module: string; measurement: string } {
  const at = stream.indexOf('/');
  return { module: stream.slice(0, at), measurement: stream.slice(at + 1) };
}

export function templateValues(point: SinkPoint) {
  return { board: point.boardName, boardId: point.board, ...splitStream(point.stream) };
}
