/** The bench's handle on its process of boards. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Command, Outcome } from './messages.ts';

const patienceMs = 180_000;

export interface BoardsProcess {
  run(command: Command): Promise<Outcome>;
  stop(): Promise<void>;
}

export function startBoardsProcess(): BoardsProcess {
  const child: ChildProcess = fork(join(import.meta.dirname, 'process.ts'), { stdio: 'inherit' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    run(command) {
      return new Promise((resolve, reject) => {
        const onExit = (code: number | null) => reject(new Error(`the boards' process ended with ${code}`));
        const late = setTimeout(() => reject(new Error(`${command.do} takes too long`)), patienceMs);
        child.once('exit', onExit);
        child.once('message', (message: Outcome | { error: string }) => {
          child.off('exit', onExit);
          clearTimeout(late);
          if ('error' in message) reject(new Error(`${command.do}: ${message.error}`));
          else resolve(message);
        });
        child.send(command);
      });
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
