/** A program run to its end, whatever its exit code; for client programs that tests use as a person would. */
import { execFile } from 'node:child_process';

export interface ProgramResult {
  /** Exit code, or the name of the signal that ended it. */
  code: number | string;
  stdout: string;
  stderr: string;
}

export interface RunProgramOptions {
  env?: Record<string, string>;
  input?: string | Uint8Array;
  /** It is killed then; default 20,000. */
  timeoutMs?: number;
}

export function runProgram(
  command: string,
  args: readonly string[],
  options: RunProgramOptions = {},
): Promise<ProgramResult> {
  const { env, input = '', timeoutMs = 20_000 } = options;
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      { env: { ...process.env, ...env }, timeout: timeoutMs, maxBuffer: 50_000_000 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : (error.code ?? error.signal ?? 'unknown');
        resolve({ code, stdout, stderr });
      },
    );
    // A program that ends without reading its input is judged by its exit code.
    child.stdin?.on('error', () => undefined).end(input);
  });
}
