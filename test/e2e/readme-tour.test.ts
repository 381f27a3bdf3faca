/** The README's tour and the pages whose commands run beside it, each typed as it stands, in one shell. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, matchesGlob } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type TestStack } from '../harness/stack.ts';

const root = join(import.meta.dirname, '../..');

let stack: TestStack;

beforeAll(async () => {
  stack = await startStack({ demo: true });
}, 120_000);

afterAll(async () => {
  await stack?.stop();
}, 60_000);

/** The blocks marked `sh tour`, in order: one script. */
function tourScript(page: string): string {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(/^```sh tour\n(.*?)^```/gms)].map((match) => match[1]).join('\n');
}

function runShell(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      BOARDWALK_HOME: stack.home,
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    };
    const running = execFile('bash', ['-s'], { cwd: root, env, timeout: 90_000 }, (error, stdout, stderr) => {
      if (error) reject(new Error(`the tour failed:\n${stdout}\n${stderr}`, { cause: error }));
      else resolve(stdout);
    });
    // What the tour left running ends with its shell, also when it fails half-way.
    running.stdin?.end(`set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n${script}`);
  });
}

describe('README tour', () => {
  it('does what the README says', async () => {
    const output = await runShell(tourScript('README.md'));
    expect(output).toContain('"name":"demo-gateway"');
    expect(output).toContain('"name":"my-gateway"');
    expect(output).toContain('system/cpu');
    expect(output).toContain('"ackedSeq"');
    expect(output).toContain('"hello"');
    expect(output).toContain('"outcome":"held"');
    expect(output).toContain('"outcome":"duplicate"');
    expect(output).toMatch(/"hop":"gateway".*"balanced":true/);
    expect(output).toMatch(/"state":"raised".*"n1\/temp"|"n1\/temp".*"state":"raised"/);
    expect(output).toMatch(/"name":"archive"/);
    expect(output).toMatch(/event: presence\n(?:.*\n)*data: .*"status":"offline"/);
    expect(output).toContain('"code":"board-offline"');
    expect(output).toMatch(/"reason":"board-offline","text":"[^"]*my-gateway/);
    // The beginning of the artifact.
    expect(output).toMatch(/"host": \{\s+"hostname"/);
    expect(output).toMatch(/"procedure":"ping".*"state":"succeeded"/);
    expect(output).toMatch(/"hash":"[0-9a-f]{64}","count":1/);
    expect(output).toMatch(/"name":"nightly".*"nextDueAt":\["20/);
  }, 120_000);
});

describe('docs/sinks.md', () => {
  it('has commands that do what it says', async () => {
    const output = await runShell(tourScript('docs/sinks.md'));
    expect(output).not.toContain('"code":');
    for (const kind of ['file', 'influx', 'webhook', 'mqtt']) expect(output).toContain(`"kind":"${kind}"`);
    expect(output).toMatch(/^\{"id":"[^"]+".*"stream":"/m);
    expect(output).toContain('"state":"paused"');
    expect(output).not.toContain('the-token-of-the-bucket');
  }, 120_000);
});

describe('docs/modules.md', () => {
  it('has commands that do what it says', async () => {
    const output = await runShell(tourScript('docs/modules.md'));
    expect(output).not.toContain('"code":');
    expect(output.match(/"outcome":"held"/g)).toHaveLength(4);
    // Who waits; then let in, refused and expected.
    expect(output).toMatch(/^\{"items":\[\{.*"name":"n1".*"name":"stranger".*"state":"quarantined"/m);
    const listed = output
      .split('\n')
      .filter((line) => line.startsWith('{"items":') && line.includes('"quarantine":'))
      .map((line) => JSON.parse(line) as { items: { name: string; state: string; kind: string | null }[] });
    expect(listed[0]?.items.map(({ name, state, kind }) => [name, state, kind])).toEqual([
      ['n1', 'accepted', 'hv'],
      ['n2', 'accepted', null],
      ['stranger', 'rejected', null],
    ]);
    expect(output).toContain('{"forgotten":2}');
    expect(output).toMatch(/"unknownDevices":"create","devicesPerMinute":20/);
    expect(output).toMatch(/"unknownDevices":"quarantine"/);
    expect(output).toMatch(/"received":4,"stored":1,"duplicate":0,"rejected":3,"waiting":0.*"balanced":true/);
  }, 120_000);
});

describe('docs/grafana.md', () => {
  it('has a command that writes the files that it names', async () => {
    const output = await runShell(tourScript('docs/grafana.md'));
    expect(output).toMatch(/kinds of modules: .*greenhouse/);
    const page = readFileSync(join(root, 'docs/grafana.md'), 'utf8');
    const named = [...page.matchAll(/^ {4}(grafana\/\S+) +→/gm)].map((match) => match[1] as string);
    expect(named).toHaveLength(3);
    const written = output.split('\n').filter((line) => line.startsWith('grafana/'));
    for (const each of named)
      expect(
        written.some((path) => matchesGlob(path, each)),
        `${each} among ${written.join()}`,
      ).toBe(true);
    expect(written.filter((path) => !named.some((each) => matchesGlob(path, each)))).toEqual([]);
  }, 120_000);
});
