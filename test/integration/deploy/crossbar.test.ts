import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../../bin/setup/exec.ts';
import { renderCrossbarConfig } from '../../../deploy/crossbar/render.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { testTools } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';

const wamp = { hello: 1, abort: 3 } as const;

describe('the rendered configuration', () => {
  it('passes `crossbar check`', async () => {
    const { crossbar } = await testTools();
    const dir = await mkdtemp(join(tmpdir(), 'boardwalk-check-'));
    const config = renderCrossbarConfig({
      realm: 's4t',
      agentSocket: join(dir, 'agent.sock'),
      agentTicket: 'ticket',
      publicHost: '127.0.0.1',
      publicPort: 18_181,
    });
    // The exit code tells: without a locale Crossbar prints nothing.
    const check = async (text: string) => {
      await writeFile(join(dir, 'config.json'), text);
      await run(crossbar.crossbar, ['check', '--cbdir', dir]);
    };
    await check(config);
    await expect(check(config.replace('"realms"', '"kingdoms"'))).rejects.toThrow(/failed/);
    await rm(dir, { recursive: true });
  });
});

describe('the router', () => {
  let router: TestCrossbar;
  beforeAll(async () => {
    router = await startCrossbar();
  });
  afterAll(() => router?.stop());

  /** The router's answer to a HELLO, challenges left unanswered. */
  function hello(details: object): Promise<unknown[]> {
    const socket = new WebSocket(router.url, ['wamp.2.json']);
    return new Promise<unknown[]>((resolve, reject) => {
      socket.onopen = () =>
        socket.send(JSON.stringify([wamp.hello, router.realm, { roles: { caller: {} }, ...details }]));
      socket.onmessage = ({ data }) => resolve(JSON.parse(String(data)) as unknown[]);
      socket.onerror = () => reject(new Error('no connection'));
    }).finally(() => socket.close());
  }

  it('refuses whoever shows no credential', async () => {
    for (const details of [
      {},
      { authmethods: ['anonymous'] },
      { authmethods: ['wampcra'], authid: 'agent' },
    ]) {
      const [type] = await hello(details);
      expect(type).toBe(wamp.abort);
    }
  });

  it('keeps the configuration, with its ticket, and the socket to its own user', async () => {
    const dir = dirname(router.agentSocket);
    expect((await stat(dir)).mode & 0o077).toBe(0);
    expect((await stat(join(dir, 'config.json'))).mode & 0o777).toBe(0o600);
  });

  it('comes back after a kill', async () => {
    router.kill();
    await until('the router to be gone', async () =>
      hello({}).then(
        () => false,
        () => true,
      ),
    );
    await until('the router to be back', async () => (await hello({}))[0] === wamp.abort, {
      timeoutMs: 30_000,
    });
  });
});
