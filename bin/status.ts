/** `npm run status`: asks every part of the running stack something real; exit code 0 when all answer. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../common/runtime/app-error.ts';
import { readAccess } from './stack/access.ts';
import { createApiClient } from './stack/api-client.ts';
import { webSocketHandshake } from './stack/crossbar.ts';
import { demoBoardName } from './stack/demo-gateway.ts';
import { selectOne } from './stack/mariadb.ts';
import { isRunning, readRecord, type StackRecord } from './stack/record.ts';
import { requireReady } from './stack/servers.ts';
import { readHome } from './stack/settings.ts';

interface Check {
  name: string;
  how: string;
  ask(): Promise<void>;
}

const answerWithinMs = 5_000;

process.exit(await status(readHome(process.env)));

async function status(home: string): Promise<number> {
  const record = await readRecord(home);
  if (record === undefined || !isRunning(record)) {
    console.log(`No Boardwalk runs in ${home}: npm start starts one.`);
    return 1;
  }
  console.log(`Boardwalk in ${home}, process ${record.pid}, since ${record.startedAt}`);
  const checks = [...partChecks(home, record), ...(record.demo ? await demoCheck(home) : [])];
  const results = await Promise.all(checks.map(runCheck));
  for (const { name, how, tookMs, fault } of results) {
    const state = fault === undefined ? 'up  ' : 'DOWN';
    console.log(`  ${state}  ${name.padEnd(14)} ${tookMs.toFixed(1).padStart(7)} ms  ${fault ?? how}`);
  }
  return results.every(({ fault }) => fault === undefined) ? 0 : 1;
}

function partChecks(home: string, record: StackRecord): Check[] {
  const databaseUrl = () => readFile(join(home, 'secrets/database-url'), 'utf8');
  return [
    { name: 'database', how: 'SELECT 1', ask: async () => selectOne(await databaseUrl()) },
    {
      name: 'crossbar',
      how: `WebSocket handshake on ${record.wampUrl}`,
      ask: () => webSocketHandshake(Number(new URL(record.wampUrl).port), answerWithinMs),
    },
    ...record.servers.map(({ name, url }) => ({
      name,
      how: `GET ${url}/readyz`,
      ask: () => requireReady(url, answerWithinMs),
    })),
  ];
}

async function demoCheck(home: string): Promise<Check[]> {
  const access = await readAccess(home);
  if (access === undefined) return [];
  const api = createApiClient(access.apiUrl, access.apiKey, answerWithinMs);
  return [
    {
      name: demoBoardName,
      how: 'RPC ping through API and router',
      async ask() {
        await api.request('POST', `/v1/boards/${demoBoardName}/rpc/ping`, {});
      },
    },
  ];
}

async function runCheck({ name, how, ask }: Check) {
  const startedAt = performance.now();
  const fault = await ask().then(() => undefined, messageOf);
  return { name, how, tookMs: performance.now() - startedAt, fault };
}
