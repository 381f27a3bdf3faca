import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processStartTime } from '../../../bin/stack/marked-processes.ts';
import { findFreePort, requireFreePort } from '../../../bin/stack/ports.ts';
import {
  isRunning,
  readRecord,
  removeRecord,
  type StackRecord,
  sweepHome,
  writeRecord,
} from '../../../bin/stack/record.ts';
import { loadSecrets, writeSecretFiles } from '../../../bin/stack/secrets.ts';
import { childEnv } from '../../../bin/stack/servers.ts';
import { readStackSettings, repositoryRoot } from '../../../bin/stack/settings.ts';
import { socketPath } from '../../../bin/stack/socket-path.ts';

describe("the stack's home", () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'boardwalk-home-'));
  });
  afterEach(() => rm(home, { recursive: true, force: true }));

  it('keeps its secrets over starts, for the owner only', async () => {
    const first = await loadSecrets(home);
    expect(await loadSecrets(home)).toEqual(first);
    expect(new Set(Object.values(first)).size).toBe(4);
    expect((await stat(join(home, 'secrets.json'))).mode & 0o777).toBe(0o600);
  });

  it('adds a secret that an older home lacks', async () => {
    await writeFile(join(home, 'secrets.json'), '{"relayKey":"kept"}');
    const secrets = await loadSecrets(home);
    expect(secrets.relayKey).toBe('kept');
    expect(secrets.agentTicket).toMatch(/^[\w-]{24}$/);
  });

  it('refuses secrets that would break out of a statement or URL', async () => {
    await writeFile(join(home, 'secrets.json'), `{"databasePassword":"'; DROP"}`);
    await expect(loadSecrets(home)).rejects.toThrow(/databasePassword/);
  });

  it('hands secrets over as files, and keeps an inherited value from beating them', async () => {
    const files = await writeSecretFiles(home, { BOARDWALK_RELAY_KEY: 'right' });
    expect(await readFile(files.BOARDWALK_RELAY_KEY_FILE, 'utf8')).toBe('right');
    expect((await stat(files.BOARDWALK_RELAY_KEY_FILE)).mode & 0o777).toBe(0o600);
    process.env.BOARDWALK_RELAY_KEY = 'wrong';
    try {
      expect(childEnv(files)).toMatchObject(files);
      expect(childEnv(files)).not.toHaveProperty('BOARDWALK_RELAY_KEY');
    } finally {
      delete process.env.BOARDWALK_RELAY_KEY;
    }
  });

  const record = (over: Partial<StackRecord> = {}): StackRecord => ({
    id: 'none',
    pid: process.pid,
    pidStartTime: processStartTime(process.pid)!,
    startedAt: '2026-01-01T00:00:00.000Z',
    apiUrl: 'http://127.0.0.1:1',
    wampUrl: 'ws://127.0.0.1:2/',
    demo: false,
    servers: [{ name: 'api', url: 'http://127.0.0.1:1' }],
    ...over,
  });

  it('remembers which stack runs in it', async () => {
    expect(await readRecord(home)).toBeUndefined();
    await writeRecord(home, record());
    expect(await readRecord(home)).toEqual(record());
    expect(isRunning(record())).toBe(true);
    expect(isRunning(record({ pidStartTime: '1' }))).toBe(false);
    await removeRecord(home);
    expect(await readRecord(home)).toBeUndefined();
  });

  it('is not given to a second stack', async () => {
    await writeRecord(home, record());
    await expect(sweepHome(home)).rejects.toThrow(/already runs in .*BOARDWALK_HOME/);
  });

  it('is freed of a stack that is gone', async () => {
    await writeRecord(home, record({ pidStartTime: '1' }));
    await sweepHome(home);
    expect(await readRecord(home)).toBeUndefined();
  });

  it('gets a short socket path when its own is too long', async () => {
    expect(await socketPath(home, 'a.sock')).toBe(join(home, 'a.sock'));
    const path = await socketPath(join(home, 'x'.repeat(100)), 'a.sock');
    expect(path.length).toBeLessThan(108);
    await rm(join(path, '..'), { recursive: true });
  });
});

describe('ports', () => {
  let server: Server;
  afterEach(() => void server?.close());

  it('that are taken are named, with the variable that moves them', async () => {
    const port = await findFreePort();
    await requireFreePort(port, 'the API', 'BOARDWALK_API_PORT');
    server = createServer().listen(port, '127.0.0.1');
    await once(server, 'listening');
    await expect(requireFreePort(port, 'the API', 'BOARDWALK_API_PORT')).rejects.toThrow(
      `Port ${port} (the API) is taken by another program: stop that, or set BOARDWALK_API_PORT to a free port.`,
    );
  });
});

describe('settings', () => {
  it('have defaults', () => {
    expect(readStackSettings({})).toMatchObject({
      home: join(repositoryRoot, '.boardwalk'),
      toolsDir: join(repositoryRoot, '.boardwalk/tools'),
      apiPort: 8812,
      wampPort: 8181,
      databasePort: 8813,
      databaseUrl: undefined,
      demo: true,
    });
  });

  it('report every fault at once', () => {
    expect(() => readStackSettings({ BOARDWALK_API_PORT: 'x', BOARDWALK_DEMO: 'maybe' })).toThrow(
      /BOARDWALK_API_PORT[\s\S]*BOARDWALK_DEMO/,
    );
  });
});
