/** Lines of text as messages: of a serial port, a script, a log. Each line is decoded by itself. */
import { join } from 'node:path';
import type { Source, SourceContext } from '../source.ts';
import { followFile } from './follow-file.ts';
import { openPosition } from './position.ts';
import { runCommand } from './run-command.ts';
import type { LineSourceSettings } from './settings.ts';

export function createLineSource(settings: LineSourceSettings, context: SourceContext): Source {
  const { name, command, file, path = name } = settings;
  const door = context.intake.open('line', settings);
  const logger = context.logger.child({ source: name });
  const shared = { path, door, clock: context.clock, logger };
  let running: { abort: AbortController; ended: Promise<void> } | undefined;

  async function run(signal: AbortSignal): Promise<void> {
    if (command) return runCommand({ ...shared, command }, signal);
    if (file === undefined) return;
    const position = openPosition(join(context.stateDir, `lines-${name}.json`));
    try {
      await followFile({ ...shared, file, position }, signal);
    } finally {
      position.close();
    }
  }

  return {
    modules: [],
    procedures: [],
    start() {
      const abort = new AbortController();
      running = { abort, ended: run(abort.signal) };
    },
    async stop() {
      running?.abort.abort();
      await running?.ended;
      running = undefined;
    },
  };
}
