/** What somebody who helps from afar asks for first, in one file. Holds no secrets. */
import { readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';
import type { Clock } from '../clock.ts';
import { readHostInfo } from '../host/facts.ts';
import type { BoardProcedure } from '../sources/source.ts';

export interface SupportContext {
  clock: Clock;
  stateDir: string;
  /** Contracts of all procedures. */
  contracts(): ProcedureContract[];
  /** What `boardwalk-agent status` shows. */
  status(): object;
  /** The settings as they are in force. */
  settings: object;
}

const kernelFiles = ['/proc/meminfo', '/proc/loadavg', '/proc/pressure/io', '/proc/net/dev'];
const kernelTextLength = 4000;

export function createSupportBundle(context: SupportContext): BoardProcedure {
  const sections: Record<string, () => unknown> = {
    host: readHostInfo,
    agent: context.status,
    settings: () => context.settings,
    process: () => ({
      node: process.versions,
      argv: process.argv.slice(1),
      memory: process.memoryUsage(),
      resources: process.resourceUsage(),
    }),
    files: () => listFiles(context.stateDir),
    kernel: () => Object.fromEntries(kernelFiles.map((path) => [path, readText(path)])),
    procedures: () => context.contracts().map(({ name, safety }) => ({ name, safety })),
  };

  return {
    contract: {
      name: 'support_bundle',
      description:
        'Collects facts about host and agent. As an operation: into a file; as an immediate call: in the answer.',
      kwargs: { type: 'object', properties: {}, additionalProperties: false },
      result: {
        type: 'object',
        properties: { artifact: { type: 'object' }, bundle: { type: 'object' } },
      },
      safety: 'idempotent',
      progress: true,
    },
    async run(_kwargs, { progress, artifact, signal }) {
      const names = Object.keys(sections);
      const bundle: Record<string, unknown> = { at: new Date(context.clock.now()).toISOString() };
      for (const [index, name] of names.entries()) {
        signal.throwIfAborted();
        progress?.({ percent: Math.floor((100 * index) / names.length), message: name });
        bundle[name] = collect(sections[name]);
        // Calls of the board get their turn in between.
        await new Promise((resolve) => setImmediate(resolve));
      }
      const text = JSON.stringify(bundle, undefined, 2);
      const file =
        artifact && (await artifact({ name: 'support-bundle.json', mediaType: 'application/json' }, text));
      progress?.({ percent: 100 });
      return file ? { artifact: file } : { bundle };
    },
  };
}

/** One part that fails must not cost the others. */
function collect(section: (() => unknown) | undefined): unknown {
  try {
    return section?.();
  } catch (error) {
    return { error: messageOf(error) };
  }
}

function listFiles(dir: string): unknown {
  const { bavail, bsize } = statfsSync(dir);
  const files = readdirSync(dir).map((name) => {
    const { size, mtime, mode } = statSync(join(dir, name));
    return { name, size, changedAt: mtime.toISOString(), mode: (mode & 0o777).toString(8) };
  });
  return { freeBytes: bavail * bsize, files };
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').slice(0, kernelTextLength);
  } catch {
    // Not every kernel has all of them.
    return null;
  }
}
