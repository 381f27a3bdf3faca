/** Makes sure that no process of the stack outlives it, not even when the stack itself is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

export interface Guard {
  /** These process groups, and no others, are ended when this process ends. */
  watch(pids: readonly number[]): void;
  /** The stack has stopped everything itself. */
  end(): Promise<void>;
}

const script = join(import.meta.dirname, 'guard.sh');

export function startGuard(env: NodeJS.ProcessEnv): Guard {
  let watched: readonly number[] = [];
  let ending = false;
  let child = start();

  function start(): ChildProcess {
    const started = spawn('/bin/sh', [script], { detached: true, env, stdio: ['pipe', 'ignore', 'ignore'] });
    // Written to after its death: the exit below starts another.
    started.stdin?.on('error', () => undefined);
    started.on('exit', () => {
      if (ending) return;
      child = start();
      tell();
    });
    return started;
  }

  const tell = () => child.stdin?.write(`${watched.join(' ')}\n`);

  return {
    watch(pids) {
      watched = [...pids];
      tell();
    },
    async end() {
      if (ending) return;
      ending = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin?.end('\n');
      await ended;
    },
  };
}
