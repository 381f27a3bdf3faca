/**
 * What a tail of the `events` table has seen. Ids are no order to follow: a row shows at its commit,
 * seconds after its id was given out, and on some engines each server counts in a block of its own.
 * So the tail reads the last seconds by time again and again, and drops what it has had.
 */

/** A row that takes longer than this from its INSERT to its COMMIT is missed. Events are inserted last. */
export const eventWindowMs = 5000;

export interface EventStamp {
  id: number;
  /** Epoch milliseconds by the database's clock. */
  at: number;
}

export interface EventWindow {
  /** From when to read next, epoch milliseconds; undefined before the first read. */
  readonly since: number | undefined;
  /** When the last complete read was made, by the database's clock; undefined before the first. */
  readonly readAt: number | undefined;
  /** Those of a read that were not had yet, ascending by id. */
  fresh(stamps: readonly EventStamp[]): EventStamp[];
  /** They were sent on. */
  markHad(stamps: readonly EventStamp[]): void;
  /** All of the read made at `now` was sent on; a read that failed half way is just not completed. */
  complete(now: number): void;
}

export function createEventWindow(): EventWindow {
  const had = new Map<number, number>();
  let readAt: number | undefined;
  return {
    get since() {
      return readAt === undefined ? undefined : readAt - eventWindowMs;
    },
    get readAt() {
      return readAt;
    },
    fresh: (stamps) => stamps.filter(({ id }) => !had.has(id)).sort((left, right) => left.id - right.id),
    markHad(stamps) {
      for (const { id, at } of stamps) had.set(id, at);
    },
    complete(now) {
      readAt = now;
      for (const [id, at] of had) if (at < now - eventWindowMs) had.delete(id);
    },
  };
}
