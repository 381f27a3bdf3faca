/**
 * The whole of Boardwalk on one machine, on loopback: private MariaDB and Crossbar, the servers, and
 * a demo gateway. `npm start` runs one, tests run several side by side.
 */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../setup/exec.ts';
import type { Say } from '../setup/progress.ts';
import { installTools, type Tools } from '../setup/tools.ts';
import { type AdminAccess, adminUsername, setUpAccess } from './access.ts';
import { agentSocketPath, createCrossbarPart } from './crossbar.ts';
import { createDemoPart } from './demo-gateway.ts';
import { createMariadbPart, mariadbUrl } from './mariadb.ts';
import { processStartTime } from './marked-processes.ts';
import { requireFreePort } from './ports.ts';
import { removeRecord, stackMark, sweepHome, writeRecord } from './record.ts';
import { loadSecrets, type StackSecrets, writeSecretFiles } from './secrets.ts';
import { childEnv, declareServers, type Server, type Servers } from './servers.ts';
import { realm, repositoryRoot, type StackSettings } from './settings.ts';
import { createSupervisor, type Part, type Supervisor } from './supervisor.ts';

export interface Stack {
  home: string;
  databaseUrl: string;
  admin: AdminAccess;
  /** The live processes, in start order. */
  processes(): { name: string; pid: number }[];
  /** Starts a further part beside them, which is stopped with them. */
  start(part: Part): Promise<void>;
  /** Stops every process, the last started first. */
  stop(): Promise<void>;
}

export interface StartOptions {
  say: Say;
  /** Ends the start-up half way; what was started is stopped. */
  signal?: AbortSignal;
  /** Aborted at the second Ctrl-C: no more waiting for anybody. */
  hurry?: AbortSignal;
}

/** Starts everything and waits until it works; stops what was started when something fails. */
export async function startStack(settings: StackSettings, options: StartOptions): Promise<Stack> {
  const { home } = settings;
  // Also aborted by a part that fails, so that nothing goes on beside the clean-up.
  const failure = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failure.signal]) : failure.signal;
  await mkdir(home, { recursive: true });
  // Others may have made it, to put the tools into.
  await chmod(home, 0o700);
  await sweepHome(home);
  await requireFreePorts(settings);
  const mariadb = settings.databaseUrl === undefined;
  const tools = await installTools({ toolsDir: settings.toolsDir, mariadb, say: options.say, signal });

  const id = randomUUID();
  const supervisor = createSupervisor({
    logDir: join(home, 'logs'),
    env: { [stackMark]: id },
    say: options.say,
  });
  const stop = async () => {
    await supervisor.stop();
    await removeRecord(home);
  };
  signal.addEventListener('abort', () => void supervisor.stop());
  options.hurry?.addEventListener('abort', () => supervisor.hurry());
  const { processes } = supervisor;
  try {
    const context = { settings, tools, supervisor, signal, failure, id, say: options.say };
    return { home, ...(await startParts(context)), processes, start: supervisor.start, stop };
  } catch (error) {
    failure.abort();
    await stop();
    throw options.signal?.aborted === true ? options.signal.reason : error;
  }
}

interface Context {
  settings: StackSettings;
  tools: Tools;
  supervisor: Supervisor;
  signal: AbortSignal;
  failure: AbortController;
  id: string;
  say: Say;
}

/** The boot order. Crossbar takes longest, so everything that can goes beside it. */
async function startParts(context: Context): Promise<{ admin: AdminAccess; databaseUrl: string }> {
  const { settings, supervisor, signal, say } = context;
  const { home } = settings;
  const secrets = await loadSecrets(home);
  const database = { port: settings.databasePort, password: secrets.databasePassword };
  const databaseUrl = settings.databaseUrl ?? mariadbUrl(database);
  const secretFiles = await writeSecretFiles(home, {
    DATABASE_URL: databaseUrl,
    BOARDWALK_RELAY_KEY: secrets.relayKey,
    BOARDWALK_AGENT_TICKET: secrets.agentTicket,
  });
  const wampUrl = `ws://127.0.0.1:${settings.wampPort}/`;
  const routerSocket = await agentSocketPath(join(home, 'crossbar'));
  const servers = await declareServers({ settings, wampUrl, routerSocket, secretFiles });
  await recordStack(context, servers, wampUrl);

  say('Starting Crossbar, MariaDB and the servers (about 8 s) …');
  const start = (group: Server[]) => Promise.all(group.map(({ part }) => supervisor.start(part)));
  const router = startCrossbar(context, secrets);
  const rest = async () => {
    await startDatabase(context, database);
    await prepareDatabase(secretFiles, secrets, signal);
    await Promise.all([
      start(servers.apis),
      start(servers.conductors),
      router.then(() => start(servers.agents)),
    ]);
  };
  await allOrNone(context, [router, rest()]);

  const apiUrl = servers.apis[0]!.url;
  const { access, client } = await setUpAccess({ home, apiUrl, wampUrl, password: secrets.adminPassword });
  if (settings.demo) {
    say('Starting the demo gateway …');
    const { tenant } = access;
    await supervisor.start(await createDemoPart({ home, wampUrl, tenant, api: client, signal }));
  }
  return { admin: access, databaseUrl };
}

async function startCrossbar({ settings, tools, supervisor }: Context, secrets: StackSecrets): Promise<void> {
  const part = await createCrossbarPart({
    tools: tools.crossbar,
    dir: join(settings.home, 'crossbar'),
    port: settings.wampPort,
    realm,
    agentTicket: secrets.agentTicket,
  });
  await supervisor.start(part);
}

async function startDatabase(
  { settings, tools, supervisor, signal }: Context,
  database: { port: number; password: string },
): Promise<void> {
  if (tools.mariadb === undefined) return;
  const dir = join(settings.home, 'mariadb');
  await supervisor.start(await createMariadbPart({ tools: tools.mariadb, dir, ...database, signal }));
}

/** Migrations and the admin, whose password is always the one in secrets.json. */
async function prepareDatabase(
  { DATABASE_URL_FILE }: { DATABASE_URL_FILE: string },
  secrets: StackSecrets,
  signal: AbortSignal,
): Promise<void> {
  const options = { env: childEnv({ DATABASE_URL_FILE }), cwd: repositoryRoot, signal };
  const script = (name: string) => join(repositoryRoot, 'bin', name);
  await run(process.execPath, [script('migrate.ts'), 'up'], options);
  await run(process.execPath, [script('create-admin.ts'), '--username', adminUsername], {
    ...options,
    input: `${secrets.adminPassword}\n`,
  });
}

/** Like Promise.all, but when one fails the others are ended before it throws. */
async function allOrNone({ supervisor, failure }: Context, jobs: Promise<unknown>[]): Promise<void> {
  try {
    await Promise.all(jobs);
  } catch (error) {
    failure.abort();
    await supervisor.stop();
    await Promise.allSettled(jobs);
    throw error;
  }
}

async function recordStack({ settings, id }: Context, servers: Servers, wampUrl: string): Promise<void> {
  await writeRecord(settings.home, {
    id,
    pid: process.pid,
    pidStartTime: processStartTime(process.pid) ?? '',
    startedAt: new Date().toISOString(),
    apiUrl: servers.apis[0]!.url,
    wampUrl,
    demo: settings.demo,
    servers: [...servers.apis, ...servers.agents, ...servers.conductors].map(({ part, url }) => ({
      name: part.name,
      url,
    })),
  });
}

async function requireFreePorts(settings: StackSettings): Promise<void> {
  await requireFreePort(settings.apiPort, 'the API', 'BOARDWALK_API_PORT');
  await requireFreePort(settings.wampPort, 'Crossbar', 'BOARDWALK_WAMP_PORT');
  if (settings.databaseUrl === undefined)
    await requireFreePort(settings.databasePort, 'MariaDB', 'BOARDWALK_DATABASE_PORT');
}
