/** `npm start` as its own process, from the outside: what it prints, how it ends, what it leaves. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { findFreePort } from '../../bin/stack/ports.ts';
import { repositoryRoot, toolsDir } from './tools.ts';
import { until } from './until.ts';

export interface StartProcess {
  child: ChildProcess;
  /** All that it printed, both streams. */
  output(): string;
  /** Resolves at the line that says all is up; `timeoutMs` 90,000 when left out. */
  ready(timeoutMs?: number): Promise<void>;
  /** Resolves with the exit code, or the signal's name. */
  ended: Promise<number | string>;
}

export type StackEnv = Record<string, string>;

/** Variables of a stack that meets no other. */
export async function separateStackEnv(home: string): Promise<StackEnv> {
  return {
    BOARDWALK_HOME: home,
    BOARDWALK_TOOLS: toolsDir,
    BOARDWALK_API_PORT: String(await findFreePort()),
    BOARDWALK_WAMP_PORT: String(await findFreePort()),
    BOARDWALK_DATABASE_PORT: String(await findFreePort()),
  };
}

/** Runs one of the start-up scripts, e.g. `start.mjs`. */
export function runBin(script: string, env: StackEnv): StartProcess {
  const child = spawn(process.execPath, [join(repositoryRoot, 'bin', script)], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const ended = new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  return {
    child,
    output: () => text,
    async ready(timeoutMs = 90_000) {
      const end = await Promise.race([
        ended,
        until('the line that says all is up', () => text.includes('Boardwalk is ready: '), {
          timeoutMs,
        }),
      ]);
      if (end !== true) throw new Error(`it ended (${end}):\n${text}`);
    },
    ended,
  };
}
