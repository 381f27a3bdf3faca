/** The api and create-admin as processes: what an operator sees of them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../harness/mariadb.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => db?.drop());

function run(entry: string[], env: Record<string, string>): ChildProcess {
  const inherited = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => name !== 'DATABASE_URL' && !/^BOARDWALK_(?!TEST)/.test(name),
    ),
  );
  return spawn(process.execPath, entry, {
    cwd: repositoryRoot,
    env: { ...inherited, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

async function finish(
  child: ChildProcess,
  input = '',
): Promise<{ code: number | null; out: string; err: string }> {
  child.stdin?.end(input);
  const [out, err] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    child.exitCode === null ? once(child, 'exit') : undefined,
  ]);
  return { code: child.exitCode, out, err };
}

describe('the api process', () => {
  it('tells all configuration faults at once and exits 78', async () => {
    const child = run(['api/main.ts'], { BOARDWALK_API_PORT: 'eighty', BOARDWALK_LOG_LEVEL: 'loud' });
    const { code, out } = await finish(child);
    expect(code).toBe(78);
    for (const name of ['DATABASE_URL', 'BOARDWALK_RELAY_KEY', 'BOARDWALK_API_PORT', 'BOARDWALK_LOG_LEVEL'])
      expect(out).toContain(name);
  });

  it('listens, and leaves with 0 on SIGTERM, even while a client never ends its request', async () => {
    const child = run(['api/main.ts'], {
      DATABASE_URL: db.url,
      BOARDWALK_RELAY_KEY: 'k',
      BOARDWALK_API_PORT: '0',
    });
    let out = '';
    child.stdout?.on('data', (data: Buffer) => {
      out += data.toString();
    });
    const port = await until('the api listens', () => /"port":(\d+),"msg":"listening"/.exec(out)?.[1], {
      timeoutMs: 30_000,
    });
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    const slow = connect(Number(port), '127.0.0.1').on('error', () => undefined);
    slow.write(
      'POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    await once(slow, 'connect');
    child.kill('SIGTERM');
    await once(child, 'exit');
    expect(child.exitCode).toBe(0);
    slow.destroy();
  }, 20_000);
});

describe('create-admin', () => {
  const create = (name: string[], password: string) =>
    finish(run(['bin/create-admin.ts', ...name], { DATABASE_URL: db.url }), password);

  it('makes an admin from the password on standard input, and may be repeated', async () => {
    const connection = await db.connect();
    try {
      for (const password of ['the-first-password\n', 'the-second-password']) {
        const { code, out, err } = await create(['--username', 'root'], password);
        expect([code, err]).toEqual([0, '']);
        expect(out).not.toContain(password.trim());
      }
      const [rows] = await connection.query('SELECT username, is_admin, disabled FROM users');
      expect(rows).toEqual([{ username: 'root', is_admin: 1, disabled: 0 }]);
    } finally {
      await connection.end();
    }
  });

  it.each([
    ['no name', [], 'a-good-password'],
    ['an unknown option', ['--user', 'x'], 'a-good-password'],
    ['a name with a control character', ['--username', 'a\u0007b'], 'a-good-password'],
    ['a short password', ['--username', 'root'], 'short'],
  ])('refuses %s', async (_what, name, password) => {
    const { code, err } = await create(name, password);
    expect(code).toBe(64);
    expect(err).not.toBe('');
    expect(err).not.toMatch(/\n\s+at /);
  });
});
