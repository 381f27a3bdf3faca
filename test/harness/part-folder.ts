/** What the starters of the real neighbours share: a folder, and lives one after the other in it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSupervisor, type Part, type Supervisor } from '../../bin/stack/supervisor.ts';

export interface PartLife {
  dir: string;
  /** Starts the part and waits until it is ready. */
  up(): Promise<void>;
  /** Ends it; what it keeps stays in the folder. */
  down(): Promise<void>;
  restart(): Promise<void>;
  /** Kills it; it is started again by itself, as a service manager would. */
  kill(signal?: NodeJS.Signals): void;
  pid(): number | undefined;
  /** Ends it and removes the folder. */
  stop(): Promise<void>;
}

export async function startPart(name: string, create: (dir: string) => Promise<Part>): Promise<PartLife> {
  const dir = await mkdtemp(join(tmpdir(), `boardwalk-${name}-`));
  let supervisor: Supervisor | undefined;
  const down = async () => {
    await supervisor?.stop();
    supervisor = undefined;
  };
  const stop = async () => {
    await down();
    await rm(dir, { recursive: true, force: true });
  };
  const up = async () => {
    if (supervisor !== undefined) throw new Error(`${name} is up`);
    supervisor = createSupervisor({ logDir: dir });
    await supervisor.start(part);
  };
  let part: Part;
  try {
    part = await create(dir);
    await up();
  } catch (error) {
    await stop();
    throw error;
  }
  const pid = () => supervisor?.processes()[0]?.pid;
  return {
    dir,
    up,
    down,
    async restart() {
      await down();
      await up();
    },
    stop,
    pid,
    kill(signal = 'SIGKILL') {
      const found = pid();
      if (found === undefined) throw new Error(`${name} is between two lives`);
      process.kill(found, signal);
    },
  };
}
