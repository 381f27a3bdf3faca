/** A plan of faults that a seed determines: what dies when, and which boards are away. Pure. */

export interface FaultStep {
  /** Milliseconds since the beginning. */
  at: number;
  kind: 'kill' | 'kill-boards' | 'hold-boards';
  /** Name of a process, or number of a process of boards. */
  victim: string;
  /** Of hold-boards: which of all boards are away from now on, by index. */
  boards?: number[];
}

export interface FaultPlanOptions {
  seed: number;
  durationMs: number;
  /** Between two faults, on average. */
  everyMs: number;
  processes: readonly string[];
  boardProcesses: number;
  boards: number;
  /** Of the boards, away at any time. */
  awayShare: number;
}

/** mulberry32: small, and the same everywhere. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function createFaultPlan(options: FaultPlanOptions): FaultStep[] {
  const random = createRandom(options.seed);
  const pick = (count: number) => Math.floor(random() * count);
  const away = (): number[] => {
    const indexes = Array.from({ length: options.boards }, (_, index) => index);
    return Array.from(
      { length: Math.round(options.boards * options.awayShare) },
      () => indexes.splice(pick(indexes.length), 1)[0] as number,
    ).sort((left, right) => left - right);
  };
  const steps: FaultStep[] = [{ at: 0, kind: 'hold-boards', victim: 'boards', boards: away() }];
  for (let at = options.everyMs; at < options.durationMs; at += options.everyMs * (0.5 + random())) {
    const kind = random();
    const rounded = Math.round(at);
    if (kind < 0.2) steps.push({ at: rounded, kind: 'hold-boards', victim: 'boards', boards: away() });
    else if (kind < 0.35)
      steps.push({ at: rounded, kind: 'kill-boards', victim: String(pick(options.boardProcesses)) });
    else
      steps.push({
        at: rounded,
        kind: 'kill',
        victim: options.processes[pick(options.processes.length)] as string,
      });
  }
  return steps;
}
