#!/usr/bin/env node
/** Process matters only: which command, and how it ends. */
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { messageOf } from '../common/runtime/app-error.ts';
import { defaultStateDir } from './state/default-dir.ts';

/**
 * The options of a plain `run`. The agent runs for months in this process: it should not carry the
 * command-line parser (8 MB) for that. Anything unusual goes to the parser, which explains it.
 */
function parsePlainRun(argv: string[]): { stateDir: string; settingsPath?: string } | undefined {
  if (argv[0] !== 'run') return undefined;
  try {
    const { values } = parseArgs({
      args: argv.slice(1),
      options: { state: { type: 'string' }, settings: { type: 'string' } },
    });
    return {
      stateDir: values.state ?? defaultStateDir(),
      ...(values.settings !== undefined && { settingsPath: values.settings }),
    };
  } catch {
    // Unknown options or --help: not for here.
    return undefined;
  }
}

try {
  const argv = process.argv.slice(2);
  const plainRun = parsePlainRun(argv);
  if (plainRun) {
    // The optimising compilers cost 7 MB of resident memory and gain little: what is hot here is
    // SQLite and the network (measured: spool throughput 10 % less).
    setFlagsFromString('--no-opt');
    setFlagsFromString('--no-maglev');
    // Collects sooner: what waits for a commit outlives the young generation and would fill the old one
    // (measured with 500 messages in flight: 40 MB less, no slower).
    setFlagsFromString('--optimize-for-size');
    const { run } = await import('./commands/run.ts');
    await run(plainRun);
  } else {
    const { runCli } = await import('./cli.ts');
    await runCli(argv);
  }
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
