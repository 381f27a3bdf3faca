/** The command line in full. `run` does not come through here when it can avoid it: see main.ts. */
import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { AppError } from '../common/runtime/app-error.ts';
import { realmDefault } from '../common/wamp/uris.ts';
import { addExplain } from './commands/explain-cli.ts';
import { say } from './commands/say.ts';
import { addSimulate } from './commands/simulate-cli.ts';
import { defaultStateDir } from './state/default-dir.ts';
import { agentVersion } from './version.ts';

interface EnrolFlags {
  state: string;
  url: string[];
  code?: string;
  codeFile?: string;
  realm: string;
  name?: string;
}

const collect = (value: string, before: string[] = []) => [...before, value];

/** Parses and runs. Throws what the commands throw. */
export async function runCli(argv: readonly string[]): Promise<void> {
  const program = new Command('boardwalk-agent')
    .description('The Boardwalk board agent: connects a gateway to its server.')
    .version(agentVersion);
  const state = ['--state <dir>', 'folder of identity, settings and spool', defaultStateDir()] as const;

  program
    .command('enrol')
    .description('Exchange a one-time code for an identity.')
    .requiredOption('--url <url>', 'WebSocket URL of a router; may be repeated', collect)
    .option('--code <code>', "the one-time code; '-' reads it from standard input")
    .option('--code-file <path>', 'read the code from a file: it stays out of the process list')
    .option('--realm <realm>', 'WAMP realm', realmDefault)
    .option('--name <name>', "name of this host as the server shows it; default: the host's own")
    .option(...state)
    .action(enrolCommand);

  program
    .command('run')
    .description('Run the agent until SIGTERM.')
    .option(...state)
    .option('--settings <file>', 'settings file; default: settings.yaml or settings.json in the state folder')
    .action(async (flags: { state: string; settings?: string }) => {
      const { run } = await import('./commands/run.ts');
      await run({ stateDir: flags.state, ...(flags.settings && { settingsPath: flags.settings }) });
    });

  program
    .command('status')
    .description(
      'Show what the running agent says about itself. Exit code 0 online, 1 not online, 3 not running.',
    )
    .option(...state)
    .option('--json', 'as JSON')
    .action(async (flags: { state: string; json?: boolean }) => {
      const { formatStatus, readStatus } = await import('./commands/status.ts');
      const { exitCode, ...report } = readStatus(flags.state);
      say(flags.json ? JSON.stringify(report) : formatStatus(report, Date.now()));
      process.exitCode = exitCode;
    });

  program
    .command('diagnose')
    .description('Check identity, network, router, clock, spool and disk. Exit code 0 when all is well.')
    .option(...state)
    .option('--json', 'one JSON line per finding')
    .action(async (flags: { state: string; json?: boolean }) => {
      const { diagnose } = await import('./commands/diagnose.ts');
      const good = await diagnose(flags.state, (finding) => {
        if (flags.json) return say(JSON.stringify(finding));
        say(`${finding.ok ? 'ok  ' : 'FAIL'}  ${finding.name.padEnd(14)} ${finding.detail}`);
        if (finding.hint) say(`      → ${finding.hint}`);
      });
      process.exitCode = good ? 0 : 1;
    });

  addDeadLetters(program, state);

  addExplain(program, state);
  addSimulate(program);

  await program.parseAsync(argv, { from: 'user' });
}

interface LetterFlags {
  state: string;
  settings?: string;
  reason?: string;
  source?: string;
  after?: number;
  limit?: number;
  all?: true;
  json?: true;
}

const asCount = (value: string) => {
  if (!/^[0-9]{1,15}$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
};

function addDeadLetters(program: Command, state: readonly [string, string, string]): void {
  const group = program
    .command('dead-letters')
    .description('Messages that could not become readings: list, show, replay or drop them.');
  const add = (usage: string, description: string) =>
    group
      .command(usage)
      .description(description)
      .option(...state)
      .option('--settings <file>', 'settings file, when no agent runs')
      .option('--json', 'as JSON');
  const filtered = (command: Command) =>
    command
      .option('--reason <reason>', 'only of this reason')
      .option('--source <name>', 'only of this source');

  filtered(add('list', 'The oldest first.'))
    .option('--after <id>', 'go on after this one', asCount)
    .option('--limit <n>', 'how many', asCount)
    .action(async (flags: LetterFlags) => {
      const { callHere, formatLetters } = await import('./commands/dead-letters.ts');
      const { state: stateDir, settings, json, ...kwargs } = flags;
      const page = await callHere(stateDir, 'gateway.dead_letters', kwargs, settings);
      say(json ? JSON.stringify(page) : formatLetters(page as never));
    });

  add('show <id>', 'One with its whole payload.').action(async (id: string, flags: LetterFlags) => {
    const { showLetter } = await import('./commands/dead-letters.ts');
    const letter = await showLetter(flags.state, asCount(id), flags.settings);
    say(JSON.stringify(letter, undefined, flags.json ? undefined : 2));
  });

  for (const [name, description] of [
    ['replay', 'Send them through the rules again.'],
    ['drop', 'Delete them for good.'],
  ] as const) {
    filtered(add(`${name} [ids...]`, description))
      .option('--all', 'all of them')
      .action(async (ids: string[], flags: LetterFlags) => {
        const { callHere } = await import('./commands/dead-letters.ts');
        const { state: stateDir, settings, json, ...kwargs } = flags;
        const which = { ...kwargs, ...(ids.length > 0 && { ids: ids.map(asCount) }) };
        const result = await callHere(stateDir, `gateway.${name}_dead_letters`, which, settings);
        const counts = Object.entries(result as object).map(([what, count]) => `${count} ${what}`);
        say(json ? JSON.stringify(result) : counts.join(', '));
      });
  }
}

async function enrolCommand(flags: EnrolFlags): Promise<void> {
  const { enrol } = await import('./commands/enrol.ts');
  for (const url of flags.url) {
    if (!/^wss?:\/\/[^/\s]+/.test(url))
      throw new AppError('invalid-arguments', `not a WebSocket URL: ${url}`);
  }
  const identity = await enrol({
    stateDir: flags.state,
    urls: flags.url,
    code: readCode(flags),
    realm: flags.realm,
    ...(flags.name !== undefined && { hostname: flags.name }),
    say,
  });
  say(`Enrolled as board ${identity.boardName} (${identity.boardUuid}).`);
  say(`Start it with: boardwalk-agent run --state ${flags.state}`);
  // In a checkout this puts the stripped sources of `run` into Node's compile cache: the first run
  // is then as small as the later ones. Installed from the tarball there is nothing to strip.
  await import('./commands/run.ts');
  await import('../common/operations/schedule-times.ts');
}

function readCode({ code, codeFile }: EnrolFlags): string {
  if (code !== undefined && codeFile !== undefined)
    throw new AppError('invalid-arguments', 'give --code or --code-file, not both');
  const path = code === '-' ? '-' : codeFile;
  // 0 is standard input.
  const text = path === undefined ? code : readFileSync(path === '-' ? 0 : path, 'utf8');
  const trimmed = text?.trim() ?? '';
  if (trimmed === '')
    throw new AppError('invalid-arguments', 'an enrolment code is needed: --code-file, or --code -');
  return trimmed;
}
