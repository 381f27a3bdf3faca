/** Runs the programs that set-up needs, one at a time and to their end; long-lived ones belong to the supervisor. */
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { SetupError } from './progress.ts';

export interface RunOptions {
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Written to the program's stdin: the way for secrets, which must not be arguments. */
  input?: string;
  signal?: AbortSignal;
}

/** Runs a program and gives back its stdout; throws with the end of its stderr when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  options.signal?.throwIfAborted();
  // A group of its own: an abort must also reach what the program started.
  const child = spawn(command, args, { detached: true, env: options.env ?? process.env, cwd: options.cwd });
  const out: string[] = [];
  const err: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => out.push(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => err.push(text));
  // A program that ends without reading its input is judged by its exit code.
  child.stdin.on('error', () => undefined).end(options.input ?? '');
  const abort = () => killGroup(child.pid, 'SIGTERM');
  options.signal?.addEventListener('abort', abort);
  try {
    const code = await new Promise<number | string>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (exitCode, signal) => resolve(exitCode ?? signal ?? 'unknown'));
    });
    options.signal?.throwIfAborted();
    if (code === 0) return out.join('');
    const said = lastLines(err.join('') || out.join(''), 12);
    throw new SetupError(`${command} ${args[0] ?? ''} failed (${code})${said === '' ? '' : `:\n${said}`}`);
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

/** Signals a whole process group; one that is gone already is fine. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/** Absolute path of a program, looked for on PATH (or another such list) and then in `extraDirs`. */
export function findProgram(
  name: string,
  extraDirs: readonly string[] = [],
  path = process.env.PATH ?? '',
): string | undefined {
  const dirs = [...path.split(delimiter), ...extraDirs];
  return dirs
    .filter((dir) => dir !== '')
    .map((dir) => join(dir, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    // Not there or not ours to run: both mean "look further".
    return false;
  }
}
