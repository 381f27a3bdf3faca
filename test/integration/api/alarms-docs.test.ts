/** docs/alarms.md, typed as it stands, in one shell. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';
import { repositoryRoot } from '../../harness/tools.ts';

let api: TestApi;
let home: string;
let board: string;

beforeAll(async () => {
  api = await startTestApi();
  home = mkdtempSync(join(tmpdir(), 'alarms-docs-'));
  const tenant = await api.rows.tenant();
  board = await api.rows.board(tenant, { name: 'demo-gateway' });
  const apiKey = (await api.rows.key(tenant)).token;
  writeFileSync(join(home, 'admin.json'), JSON.stringify({ apiUrl: api.url, apiKey }));
  await api.rows.insert('alarms', {
    ...{ id: timeUuid(), tenant_id: tenant, rule_id: timeUuid(), rule_name: 'earlier', revision: 1 },
    ...{ severity: 'warning', board_uuid: board, board_name: 'demo-gateway', stream_id: 1, stream: 'a/b' },
    ...{ open: 1, state: 'raised', since: 1, raised_at: new Date(), evidence: '{}' },
  });
});
afterAll(async () => {
  rmSync(home, { recursive: true, force: true });
  await api?.stop();
});

function runShell(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      BOARDWALK_HOME: home,
      TMPDIR: home,
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    };
    const running = execFile('bash', ['-s'], { env, timeout: 60_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`it failed:\n${stdout}\n${stderr}`, { cause: error }));
      else resolve(stdout);
    });
    running.stdin?.end(`set -eu\n${script}`);
  });
}

describe('docs/alarms.md', () => {
  it('has commands that do what it says', async () => {
    const page = readFileSync(join(repositoryRoot, 'docs/alarms.md'), 'utf8');
    const script = [...page.matchAll(/^```sh tour\n(.*?)^```/gms)].map((match) => match[1]).join('\n');
    const output = await runShell(script);
    expect(output).not.toContain('"code":');
    expect(output).toMatch(/"name":"greenhouse too hot".*"hysteresis":1/);
    expect(output).toContain(`"target":{"boards":["${board}"]}`);
    expect(output).toMatch(/"state":"acknowledged".*"comment":"the window is open"/);
    expect(output).toMatch(/"name":"gateway away".*"forSeconds":600/);
    const listed = output.split('\n').find((line) => line.startsWith('{"items":') && line.includes('silent'));
    const { items } = JSON.parse(listed ?? '{}') as { items: { name: string; enabled: boolean }[] };
    expect(items.map(({ name, enabled }) => [name, enabled])).toEqual([
      ['gateway away', true],
      ['greenhouse too hot', true],
      ['silent sensors', false],
    ]);
    const [left] = await api.connection.query('SELECT COUNT(*) AS n FROM alarm_rules');
    expect(left).toEqual([{ n: 0 }]);
  });

  it('shows an interlock that the api takes', async () => {
    const page = readFileSync(join(repositoryRoot, 'docs/alarms.md'), 'utf8');
    const example = JSON.parse(/^```json\n(\{\n.*?)^```/ms.exec(page)?.[1] ?? '') as object;
    const tenant = await api.rows.tenant();
    await api.rows.board(tenant, { name: 'hv-gateway' });
    const { token } = await api.rows.key(tenant);
    const made = await api.request('/v1/alarm-rules', { token, body: example });
    expect(made.status, made.text).toBe(201);
  });
});
