/**
 * Which processes of a kind live: read from the database at most once a second, whoever asks. One
 * that refused a connection rests, because its lapse shows in the database only seconds later.
 */

export interface LiveProcesses<T extends { id: string }> {
  all(): Promise<T[]>;
  /** Those of a group, the ones to try first in front; empty when there is none. */
  inTurn(group: string, isMember?: (process: T) => boolean): Promise<T[]>;
  /** It refused: it goes to the end of the list for a while, and the list is read anew. */
  reportRefusal(id: string): void;
}

export interface LiveProcessesOptions<T> {
  find: () => Promise<T[]>;
  /** Milliseconds, monotonic. */
  now?: () => number;
}

const freshMs = 1000;
const restMs = 2000;

export function createLiveProcesses<T extends { id: string }>(
  options: LiveProcessesOptions<T>,
): LiveProcesses<T> {
  const now = options.now ?? (() => performance.now());
  let processes: T[] = [];
  let readAt = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | undefined;
  /** By group; there are few. */
  const turns = new Map<string, number>();
  const restsUntil = new Map<string, number>();

  async function read(): Promise<void> {
    const startedAt = now();
    processes = await options.find();
    readAt = startedAt;
    for (const id of restsUntil.keys()) if (!processes.some((each) => each.id === id)) restsUntil.delete(id);
  }

  async function all(): Promise<T[]> {
    if (now() - readAt <= freshMs) return processes;
    reading ??= read().finally(() => {
      reading = undefined;
    });
    await reading;
    return processes;
  }

  return {
    all,
    async inTurn(group, isMember = () => true) {
      const members = (await all()).filter(isMember);
      if (members.length < 2) return members;
      // Round and round, so that the members divide the load.
      const turn = ((turns.get(group) ?? -1) + 1) % members.length;
      turns.set(group, turn);
      const turned = [...members.slice(turn), ...members.slice(0, turn)];
      const rests = ({ id }: T) => Number((restsUntil.get(id) ?? 0) > now());
      return turned.sort((left, right) => rests(left) - rests(right));
    },
    reportRefusal(id) {
      restsUntil.set(id, now() + restMs);
      readAt = Number.NEGATIVE_INFINITY;
    },
  };
}
