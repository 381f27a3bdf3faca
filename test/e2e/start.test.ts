/** `npm start` and `npm run status` as a person meets them. */

import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findMarked } from '../../bin/stack/marked-processes.ts';
import { readRecord, stackMark } from '../../bin/stack/record.ts';
import { listeningAddresses } from '../harness/listening.ts';
import { runBin, type StackEnv, type StartProcess, separateStackEnv } from '../harness/start-process.ts';
import { until } from '../harness/until.ts';

describe('npm start', () => {
  let home: string;
  let env: StackEnv;
  let start: StartProcess;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'boardwalk-start-'));
    env = await separateStackEnv(home);
    start = runBin('start.mjs', env);
    await start.ready();
  });
  afterAll(async () => {
    start.child.kill('SIGTERM');
    await start.ended;
    await rm(home, { recursive: true, force: true });
  });

  const admin = async () => JSON.parse(await readFile(join(home, 'admin.json'), 'utf8'));
  const ourProcesses = async () => findMarked(stackMark, (await readRecord(home))?.id ?? 'none');

  async function pingDemo(): Promise<number> {
    const { apiUrl, apiKey } = await admin();
    const response = await fetch(`${apiUrl}/v1/boards/demo-gateway/rpc/ping`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' },
      body: '{}',
    });
    await response.text();
    return response.status;
  }

  it('says where it is, how to get in and what to try', async () => {
    const { apiUrl, wampUrl, username, password } = await admin();
    const output = start.output();
    for (const part of [
      apiUrl,
      wampUrl,
      `${username} / ${password}`,
      'npm run status',
      'rpc/info',
      '/streams',
    ])
      expect(output).toContain(part);
    expect(output.trimEnd().split('\n').at(-1)).toBe(`Boardwalk is ready: ${apiUrl}`);
  });

  it('has a demo gateway that answers and measures', async () => {
    expect(await pingDemo()).toBe(200);
    const { apiUrl, apiKey } = await admin();
    await until(
      'readings',
      async () => {
        const response = await fetch(`${apiUrl}/v1/boards/demo-gateway/streams`, {
          headers: { Authorization: `Bearer ${apiKey}` },
        });
        const { items } = (await response.json()) as { items: { count: number }[] };
        return items.length > 0 && items.every(({ count }) => count > 0);
      },
      { timeoutMs: 20_000 },
    );
  });

  it('keeps its secrets to its owner, and off command lines', async () => {
    for (const name of [
      'secrets.json',
      'admin.json',
      'curlrc',
      'crossbar/config.json',
      'mariadb/accounts.sql',
    ])
      expect((await stat(join(home, name))).mode & 0o777, name).toBe(0o600);
    expect((await stat(home)).mode & 0o077).toBe(0);
    const secrets = Object.values(JSON.parse(await readFile(join(home, 'secrets.json'), 'utf8')) as object);
    const { apiKey } = await admin();
    for (const { pid } of await ourProcesses()) {
      const shown =
        (await readFile(`/proc/${pid}/cmdline`, 'utf8')) + (await readFile(`/proc/${pid}/environ`, 'utf8'));
      for (const secret of [...secrets, apiKey]) expect(shown).not.toContain(secret);
    }
    const logs = join(home, 'logs');
    for (const name of await readdir(logs)) {
      const log = await readFile(join(logs, name), 'utf8');
      for (const secret of [...secrets, apiKey]) expect(log, name).not.toContain(secret);
    }
  });

  it('gives its servers a database account that owns one schema and sees no other', async () => {
    const url = await readFile(join(home, 'secrets/database-url'), 'utf8');
    const connection = await createConnection(url.trim());
    const column = async (sql: string) => {
      const [rows] = await connection.query<RowDataPacket[]>(sql);
      return rows.map((row) => String(Object.values(row)[0])).sort();
    };
    try {
      expect(await column('SHOW DATABASES')).toEqual(['boardwalk', 'information_schema']);
      expect(await column('SHOW GRANTS')).toEqual([
        expect.stringMatching(/^GRANT ALL PRIVILEGES ON `boardwalk`\.\* TO [^ ]+$/),
        expect.stringMatching(/^GRANT USAGE ON \*\.\* TO /),
      ]);
    } finally {
      await connection.end();
    }
  });

  it('opens nothing beyond loopback', async () => {
    const addresses = listeningAddresses((await ourProcesses()).map(({ pid }) => pid));
    expect(addresses.length).toBeGreaterThanOrEqual(5);
    expect(addresses.filter((address) => !address.startsWith('127.0.0.1:'))).toEqual([]);
  });

  it('is up in every part, as npm run status finds', async () => {
    const status = runBin('status.mjs', env);
    expect(await status.ended, status.output()).toBe(0);
    for (const part of ['database', 'crossbar', 'api', 'wamp-agent', 'conductor', 'demo-gateway'])
      expect(status.output()).toMatch(new RegExp(`^  up +${part} +[0-9.]+ ms`, 'm'));
  });

  it('is not started twice in one home', async () => {
    const second = runBin('start.mjs', env);
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain('Boardwalk already runs in');
  });

  it('brings back every part that is killed', async () => {
    for (const name of [
      'mariadb',
      'crossbar',
      'api',
      'wamp-agent',
      'conductor',
      'boardwalk-agent|board-agent',
    ]) {
      const matches = (await ourProcesses()).filter(({ command }) => new RegExp(name).test(command));
      expect(matches.length, name).toBeGreaterThan(0);
      for (const { pid } of matches) process.kill(pid, 'SIGKILL');
    }
    await until('a call to get through again', async () => (await pingDemo()) === 200, {
      timeoutMs: 60_000,
      everyMs: 250,
    });
    const status = runBin('status.mjs', env);
    expect(await status.ended, status.output()).toBe(0);
  });

  it('finds its state again at the next start, and stops everything at SIGTERM', async () => {
    const before = await admin();
    const processes = await ourProcesses();
    start.child.kill('SIGTERM');
    expect(await start.ended).toBe(0);
    expect(start.output()).toContain('Boardwalk is stopped.');
    expect(processes.filter(({ pid }) => isAlive(pid))).toEqual([]);

    const startedAt = performance.now();
    start = runBin('start.mjs', env);
    await start.ready();
    expect(performance.now() - startedAt).toBeLessThan(30_000);
    expect(await admin()).toEqual(before);
    expect(await pingDemo()).toBe(200);
  });

  it('leaves nothing behind when it is killed itself', async () => {
    const { id, pid } = (await readRecord(home))!;
    process.kill(pid, 'SIGKILL');
    start.child.kill('SIGKILL');
    await until('every part to be gone', () => findMarked(stackMark, id).length === 0, { timeoutMs: 20_000 });
    start = runBin('start.mjs', env);
    await start.ready();
    expect(await pingDemo()).toBe(200);
  });
});

describe('a start that can not be', () => {
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'boardwalk-start-'));
  });
  afterAll(() => rm(home, { recursive: true, force: true }));

  it('names the port that is taken and the variable that moves it', async () => {
    const env = await separateStackEnv(home);
    const server = createServer().listen(Number(env.BOARDWALK_WAMP_PORT), '127.0.0.1');
    await once(server, 'listening');
    const start = runBin('start.mjs', env);
    expect(await start.ended).toBe(1);
    expect(start.output()).toMatch(/^Port \d+ \(Crossbar\) is taken .*BOARDWALK_WAMP_PORT/m);
    server.close();
  });

  it('stops what it had started, says why, and exits with 1', async () => {
    const env = await separateStackEnv(home);
    // A schema that nobody may use: the migrations fail while Crossbar is on its way up.
    const start = runBin('start.mjs', { ...env, DATABASE_URL: 'mysql://nobody:x@127.0.0.1:1/none' });
    const id = await until('the record', async () => (await readRecord(home))?.id, { timeoutMs: 30_000 });
    expect(await start.ended).toBe(1);
    expect(start.output()).toMatch(/migrate/);
    expect(findMarked(stackMark, id)).toEqual([]);
    expect(await readRecord(home)).toBeUndefined();
  });

  it('can be interrupted half way', async () => {
    const start = runBin('start.mjs', await separateStackEnv(home));
    const id = await until('the record', async () => (await readRecord(home))?.id, { timeoutMs: 30_000 });
    await until('a first part', () => findMarked(stackMark, id).length > 1);
    start.child.kill('SIGINT');
    await start.ended;
    expect(start.output()).not.toContain('Boardwalk is ready');
    expect(findMarked(stackMark, id)).toEqual([]);
    expect(await readRecord(home)).toBeUndefined();
  });
});

describe('npm run status', () => {
  it('says that nothing runs', async () => {
    const home = await mkdtemp(join(tmpdir(), 'boardwalk-none-'));
    const status = runBin('status.mjs', { BOARDWALK_HOME: home });
    expect(await status.ended).toBe(1);
    expect(status.output()).toMatch(/No Boardwalk runs in/);
    await rm(home, { recursive: true });
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process: the answer.
    return false;
  }
}
