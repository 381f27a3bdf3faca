/** `npm start`, once the node modules are there: runs the stack until Ctrl-C, SIGTERM or SIGHUP. */
import { join } from 'node:path';
import { findProgram } from './setup/exec.ts';
import { shownPath } from './setup/progress.ts';
import { demoBoardName } from './stack/demo-gateway.ts';
import { runUntilStopped } from './stack/run-until-stopped.ts';
import { readStackSettings, type StackSettings } from './stack/settings.ts';
import { type Stack, startStack } from './stack/stack.ts';

await runUntilStopped(async (life) => {
  const startedAt = performance.now();
  const settings = readStackSettings(process.env);
  const stack = await startStack(settings, life);
  welcome(settings, stack, performance.now() - startedAt);
  return stack;
});

function welcome(settings: StackSettings, stack: Stack, tookMs: number): void {
  const { admin, home } = stack;
  const path = (name: string) => shownPath(join(home, name));
  console.log(`
  API       ${admin.apiUrl}   (reference: ${admin.apiUrl}/docs)
  router    ${admin.wampUrl}   realm ${admin.realm}
  login     ${admin.username} / ${admin.password}   (kept in ${path('admin.json')}, with an API key)

  Try next, in another terminal:
    ${commandsToTry(settings, stack).join('\n    ')}

  Up in ${(tookMs / 1000).toFixed(1)} s. Ctrl-C stops everything.`);
  console.log(`Boardwalk is ready: ${admin.apiUrl}`);
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
