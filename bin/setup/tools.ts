/** Installs everything that is not a node module, side by side, into a folder that several stacks may share. */
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CrossbarTools, findOrInstallCrossbar } from './crossbar.ts';
import { findOrInstallMariadb, type MariadbTools } from './mariadb.ts';
import { findOrInstallPart, type PartName, type PartTools } from './parts.ts';
import type { Say } from './progress.ts';

export interface Tools {
  crossbar: CrossbarTools;
  /** Absent when a server was given (DATABASE_URL). */
  mariadb?: MariadbTools;
  /** Those that were asked for. */
  parts: Partial<PartTools>;
}

export interface ToolsOptions {
  toolsDir: string;
  mariadb: boolean;
  /** Neighbours that the tests and the demonstrator need beside it. */
  parts?: readonly PartName[];
  say: Say;
  signal?: AbortSignal;
}

export async function installTools(options: ToolsOptions): Promise<Tools> {
  const { toolsDir, say, signal, parts = [] } = options;
  await mkdir(toolsDir, { recursive: true });
  const unlock = await lock(join(toolsDir, 'lock'), say, signal);
  // One that fails ends the other, so that nothing is left running behind the error message.
  const abort = new AbortController();
  const either = signal ? AbortSignal.any([signal, abort.signal]) : abort.signal;
  const tools: Tools['parts'] = {};
  const jobs = [
    findOrInstallCrossbar(toolsDir, say, either),
    options.mariadb ? findOrInstallMariadb(toolsDir, say, either) : undefined,
    ...parts.map(async (name) => {
      Object.assign(tools, { [name]: await findOrInstallPart(name, { toolsDir, say, signal: either }) });
    }),
  ] as const;
  try {
    const [crossbar, mariadb] = await Promise.all(jobs);
    return { crossbar, parts: tools, ...(mariadb === undefined ? {} : { mariadb }) };
  } catch (error) {
    abort.abort();
    await Promise.allSettled(jobs);
    throw error;
  } finally {
    await unlock();
  }
}

/** One installer at a time; a lock whose owner is gone is taken over. */
async function lock(path: string, say: Say, signal?: AbortSignal): Promise<() => Promise<void>> {
  for (let attempt = 0; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const owner = Number(await readFile(path, 'utf8').catch(() => ''));
    if (owner > 0 && !isAlive(owner)) await rm(path, { force: true });
    else if (attempt === 10) say('Waiting for another start that is installing the same tools …');
    await sleep(100);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
