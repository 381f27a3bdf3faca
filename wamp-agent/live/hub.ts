/** Fresh readings to the api processes that asked for them, best effort: a slow one misses lines. */
import type { LiveReading, LiveReadings, RelayInterest } from '../../common/relay/messages.ts';
import type { ReadingsBatch, ReadingTuple, StreamDeclaration } from '../../common/wamp/readings.ts';

export interface LiveHub {
  /** `write` answers false when the line was dropped. Call the result to end it. */
  listen(interest: RelayInterest, write: (line: string) => void): () => void;
  wants(tenantId: string, boardUuid: string): boolean;
  send(readings: LiveReadings): void;
  /** Somebody asked for just this board: it reports more often meanwhile. */
  isWatched(boardUuid: string): boolean;
  listeners(): number;
}

interface Listener {
  boards: ReadonlySet<string> | null;
  tenants: ReadonlySet<string> | null;
  write: (line: string) => void;
}

export function createLiveHub(): LiveHub {
  const listeners = new Set<Listener>();
  const watched = new Map<string, number>();

  const matches = ({ boards, tenants }: Listener, tenantId: string, boardUuid: string): boolean =>
    (boards === null || boards.has(boardUuid)) && (tenants === null || tenants.has(tenantId));

  return {
    listen(interest, write) {
      const boards = interest.boards && new Set(interest.boards);
      const listener = { boards, tenants: interest.tenants && new Set(interest.tenants), write };
      listeners.add(listener);
      for (const each of boards ?? []) watched.set(each, (watched.get(each) ?? 0) + 1);
      return () => {
        if (!listeners.delete(listener)) return;
        for (const each of boards ?? []) {
          const count = (watched.get(each) ?? 1) - 1;
          if (count === 0) watched.delete(each);
          else watched.set(each, count);
        }
      };
    },
    wants(tenantId, boardUuid) {
      for (const each of listeners) if (matches(each, tenantId, boardUuid)) return true;
      return false;
    },
    send(readings) {
      let line: string | undefined;
      for (const each of listeners) {
        if (!matches(each, readings.tenantId, readings.boardUuid)) continue;
        line ??= `${JSON.stringify(readings)}\n`;
        each.write(line);
      }
    },
    isWatched: (boardUuid) => watched.has(boardUuid),
    listeners: () => listeners.size,
  };
}

/** The readings of a batch from `firstNew` on, as listeners see them. */
export function toLiveReadings(batch: ReadingsBatch, firstNew: number): LiveReading[] {
  return batch.readings.slice(firstNew).map(([index, at, value]: ReadingTuple) => {
    const { name, type, unit } = batch.streams[index] as StreamDeclaration;
    return { stream: name, type, unit, at, value };
  });
}
