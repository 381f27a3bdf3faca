/**
 * What `simulate` plays: devices that send readings, and the server's count of what arrived. A load
 * is honest: acknowledged is only what the other side has said, stored only what the API counts.
 */
export interface LoadCounts {
  /** Readings handed to the transport, each once, however often it is repeated. */
  sent: number;
  acknowledged: number;
  /** Refused for good: they will not come. */
  refused: number;
  /** Times that the other side said it cannot take it now, or did not answer; it is tried again. */
  unavailable: number;
}

export interface Load {
  /** How many devices there are. */
  devices: number;
  counts(): LoadCounts;
  /** Sends one reading of the device, and counts it. Never throws. */
  send(device: number): void;
  /** Whether what is under way leaves room for more. */
  hasRoom(): boolean;
  /** Resolves when nothing is under way; the signal ends it before. */
  drain(signal: AbortSignal): Promise<void>;
  /** Readings of this run that the API counts. */
  countStored(): Promise<number>;
  /** Where the counts of a device differ, one line each, with what the server knows of it. */
  findDifferences(): Promise<string[]>;
  /** Disconnects, and removes what was made for the run. */
  close(): Promise<void>;
}

/** For programs of ours that run for seconds: how much waits at the most. */
export const inFlightLimit = 2000;

/** Runs `work` for each, a few at a time. Rejects with the first failure. */
export async function forEachLimited<T>(
  items: readonly T[],
  atATime: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries();
  const workers = Array.from({ length: Math.min(atATime, items.length) }, async () => {
    for (const [index, item] of queue) await work(item, index);
  });
  await Promise.all(workers);
}
