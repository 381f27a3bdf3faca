/** `npm start`, once the node modules are there: runs the stack until Ctrl-C, SIGTERM or SIGHUP. */
import { join } from 'node:path';
import { messageOf } from '../common/runtime/app-error.ts';
import { ConfigError } from '../common/runtime/config.ts';
import { findProgram } from './setup/exec.ts';
import { SetupError, shownPath } from './setup/progress.ts';
import { ApiRefusal } from './stack/api-client.ts';
import { demoBoardName } from './stack/demo-gateway.ts';
import { readStackSettings, type StackSettings } from './stack/settings.ts';
import { type Stack, startStack } from './stack/stack.ts';
import { PartFailed } from './stack/supervisor.ts';

/** Two signals within this are one: the terminal sends Ctrl-C to a whole group, and npm passes it on. */
const sameSignalMs = 500;

const stopping = new AbortController();
const hurry = new AbortController();
let stoppedAt = 0;

function askToStop(): void {
  if (!stopping.signal.aborted) {
    stoppedAt = performance.now();
    stopping.abort(new Error('stopped'));
  } else if (performance.now() - stoppedAt > sameSignalMs) hurry.abort();
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, askToStop);
// The launcher holds this channel open for as long as it lives.
process.on('disconnect', askToStop);
// A closed terminal must not keep us from stopping the rest.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
process.on('uncaughtException', (error) => {
  console.error(error);
  process.exitCode = 1;
  askToStop();
});

const say = (line: string) => console.log(line);

try {
  const startedAt = performance.now();
  const settings = readStackSettings(process.env);
  const stack = await startStack(settings, { say, signal: stopping.signal, hurry: hurry.signal });
  welcome(settings, stack, performance.now() - startedAt);
  await new Promise<void>((resolve) => {
    if (stopping.signal.aborted) resolve();
    stopping.signal.addEventListener('abort', () => resolve());
  });
  say('Stopping …');
  await stack.stop();
} catch (error) {
  if (!stopping.signal.aborted) {
    process.exitCode = 1;
    console.error(explain(error));
  }
}
say('Boardwalk is stopped.');
if (process.connected) process.disconnect();
process.exit();

function explain(error: unknown): string {
  const expected = [SetupError, PartFailed, ConfigError, ApiRefusal];
  if (expected.some((kind) => error instanceof kind)) return messageOf(error);
  return error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
}

function welcome(settings: StackSettings, stack: Stack, tookMs: number): void {
  const { admin, home } = stack;
  const path = (name: string) => shownPath(join(home, name));
  say(`
  API       ${admin.apiUrl}   (reference: ${admin.apiUrl}/docs)
  router    ${admin.wampUrl}   realm ${admin.realm}
  login     ${admin.username} / ${admin.password}   (kept in ${path('admin.json')}, with an API key)

  Try next, in another terminal:
    ${commandsToTry(settings, stack).join('\n    ')}

  Up in ${(tookMs / 1000).toFixed(1)} s. Ctrl-C stops everything.`);
  say(`Boardwalk is ready: ${admin.apiUrl}`);
}

/** Commands that work as they stand, with what this machine has. */
function commandsToTry(settings: StackSettings, { admin, home }: Stack): string[] {
  const path = (name: string) => shownPath(join(home, name));
  const curl = `curl -sK ${path('curlrc')}`;
  const board = `${admin.apiUrl}/v1/boards/${demoBoardName}`;
  const agent = (command: string) => `bin/boardwalk-agent ${command} --state ${path('demo-board')}`;
  if (findProgram('curl') === undefined)
    return ['npm run status', ...(settings.demo ? [agent('status'), agent('diagnose')] : [])];
  if (!settings.demo)
    return ['npm run status', `${curl} ${admin.apiUrl}/v1/me`, `${curl} ${admin.apiUrl}/v1/boards`];
  return ['npm run status', `${curl} --json '{}' ${board}/rpc/info`, `${curl} ${board}/streams`];
}
