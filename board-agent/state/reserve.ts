/**
 * Room put by for the day when the disk is full: SQLite needs some even to give space back. With it
 * a file can take its log in and go on inside the space that it has.
 */
import { existsSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock } from '../clock.ts';

export interface Reserve {
  /** Gives the room away. */
  release(): void;
  /** Puts room by again when there is plenty; cheap to call often. */
  restore(): void;
}

/** The reserve must not be what fills the disk. */
const plentyFactor = 8;
const restoreEveryMs = 60_000;

export function createReserve(filePath: string, reserveBytes: number, clock: Clock): Reserve {
  const path = `${filePath}.reserve`;
  // Not at the start: an agent that lives for seconds only has no use for it.
  let lookedAtMs = clock.monotonicMs();

  return {
    release: () => rmSync(path, { force: true }),
    restore() {
      if (clock.monotonicMs() - lookedAtMs < restoreEveryMs) return;
      lookedAtMs = clock.monotonicMs();
      if (existsSync(path)) return;
      const { bavail, bsize } = statfsSync(dirname(path));
      if (bavail * bsize < plentyFactor * reserveBytes) return;
      // Written and not only sized: a hole takes no room.
      writeFileSync(path, Buffer.alloc(reserveBytes), { mode: 0o600 });
    },
  };
}
