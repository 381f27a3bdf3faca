/** What a transaction changes of the sources' counts. */
import type { DatabaseSync } from 'node:sqlite';
import { createCounts, type FlowOutcome, type SourceCounts, writeCounts } from './counts.ts';
import type { IntakeState } from './state.ts';

type Left = Exclude<FlowOutcome, 'waiting'>;

export interface FlowDraft {
  /** A message has come, or has come again. */
  count(source: string, outcome: Left): void;
  /** What waited has become something; that it waits no more is counted with its letter. */
  countWaited(source: string, outcome: Left): void;
  /** A message was received, and something else counts what became of it. */
  countReceived(source: string): void;
  countWaiting(source: string, step: 1 | -1): void;
  write(db: DatabaseSync): void;
  /** Answers with the sources that changed. */
  adopt(): string[];
}

export function createFlowDraft(state: IntakeState, kindOf: (source: string) => string): FlowDraft {
  const changed = new Map<string, SourceCounts>();

  function countsOf(source: string): SourceCounts {
    const known = changed.get(source);
    if (known) return known;
    const copy = { ...(state.counts.get(source) ?? createCounts(source, kindOf(source))) };
    changed.set(source, copy);
    return copy;
  }

  return {
    count(source, outcome) {
      const counts = countsOf(source);
      counts.received += 1;
      counts[outcome] += 1;
    },
    countWaited(source, outcome) {
      countsOf(source)[outcome] += 1;
    },
    countReceived(source) {
      countsOf(source).received += 1;
    },
    countWaiting(source, step) {
      countsOf(source).waiting += step;
    },
    write(db) {
      for (const counts of changed.values()) writeCounts(db, counts);
    },
    adopt() {
      for (const [name, counts] of changed) state.counts.set(name, counts);
      return [...changed.keys()];
    },
  };
}
