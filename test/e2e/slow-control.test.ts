/** `npm run demo:slow-control` from the outside: three ways to the devices, their refusals, the interlock. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findMarked } from '../../bin/stack/marked-processes.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { readRecord, stackMark } from '../../bin/stack/record.ts';
import { listeningAddresses } from '../harness/listening.ts';
import { runProgram } from '../harness/run-program.ts';
import { runBin, type StackEnv, type StartProcess, separateStackEnv } from '../harness/start-process.ts';
import { repositoryRoot, testPart } from '../harness/tools.ts';
import { until } from '../harness/until.ts';

interface Channel {
  number: number;
  on: number;
  vreq: number;
  vmeas: number;
}

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests, which fail on a wrong shape
  body: any;
}

const startMs = 150_000;

describe('the slow-control demonstrator', () => {
  let home: string;
  let env: StackEnv;
  let demo: StartProcess;
  let admin: { apiUrl: string; apiKey: string; username: string; password: string; tenant: string };
  let nodeRedPassword: string;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'boardwalk-slow-control-'));
    env = {
      ...(await separateStackEnv(home)),
      BOARDWALK_MQTT_PORT: String(await findFreePort()),
      BOARDWALK_INFLUX_PORT: String(await findFreePort()),
      BOARDWALK_INFLUX_RPC_PORT: String(await findFreePort()),
      BOARDWALK_NODE_RED_PORT: String(await findFreePort()),
    };
    demo = runBin('demo-slow-control.mjs', env);
    await demo.ready(startMs);
    admin = JSON.parse(await readFile(join(home, 'admin.json'), 'utf8'));
    nodeRedPassword = JSON.parse(await readFile(join(home, 'slow-control.json'), 'utf8')).nodeRed;
  }, startMs);
  afterAll(async () => {
    demo?.child.kill('SIGTERM');
    await demo?.ended;
    await rm(home, { recursive: true, force: true });
  }, 60_000);

  async function api(method: string, path: string, body?: object, token = admin.apiKey): Promise<Answer> {
    const response = await fetch(admin.apiUrl + path, {
      method,
      headers: {
        Authorization: `Bearer ${token}`,
        ...(body ? { 'Content-Type': 'application/json' } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
  }
  const call = (procedure: string, kwargs: object, token?: string) =>
    api('POST', `/v1/boards/slow-control/rpc/${procedure}`, { kwargs }, token);

  async function client(program: 'mosquitto_pub' | 'mosquitto_sub', args: string[]): Promise<string> {
    const result = await runProgram(join(home, 'bin', program), args);
    if (result.code !== 0) throw new Error(`${program} ended with ${result.code}: ${result.stderr}`);
    return result.stdout;
  }
  const publish = (topic: string, payload: string) => client('mosquitto_pub', ['-t', topic, '-m', payload]);
  const status = async (device: string): Promise<Channel[]> =>
    JSON.parse(await client('mosquitto_sub', ['-t', `/${device}/status`, '-C', '1', '-W', '10']));

  async function nodeRed(method: string, path: string): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${env.BOARDWALK_NODE_RED_PORT}${path}`, {
      method,
      headers: { Authorization: `Bearer ${nodeRedPassword}` },
    });
    if (!response.ok) throw new Error(`Node-RED answers ${response.status}`);
    return response.text();
  }

  const lastValue = async (stream: string): Promise<unknown> => {
    const { body } = await api('GET', '/v1/boards/slow-control/streams?limit=100');
    return body.items.find(({ name }: { name: string }) => name === stream)?.lastValue;
  };
  /** Time until a stream shows a value in the API, in ms. */
  async function shown(stream: string, value: unknown, timeoutMs = 10_000): Promise<number> {
    const since = performance.now();
    await until(`${stream} is ${value}`, async () => (await lastValue(stream)) === value, { timeoutMs });
    return performance.now() - since;
  }

  it('switches and sets over HTTP; the status shows it, and the voltage ramps to the request', async () => {
    expect(await call('hv.setv', { channel: 0, volts: 100 })).toMatchObject({ status: 200 });
    expect(await call('hv.switch', { channel: 0, on: true })).toMatchObject({
      status: 200,
      body: { result: { number: 0, on: 1, vreq: 100 } },
    });
    expect(await shown('hv/ch0.on', true)).toBeLessThan(4_000);
    expect((await status('hv'))[0]?.vmeas).toBeLessThanOrEqual(100);
    await until('100 V are reached', async () => (await status('hv'))[0]?.vmeas === 100);
    await shown('hv/ch0.vmeas', 100);
  });

  it('switches and sets by mosquitto_pub', async () => {
    await publish('/hv/cmd/setv/1', '60');
    await publish('/hv/cmd/switch/1', 'on');
    expect((await status('hv'))[1]).toMatchObject({ on: 1, vreq: 60 });
    await shown('hv/ch1.on', true);
    await shown('hv/ch1.vmeas', 60);
  });

  it('switches and sets from Node-RED, which sees the readings too', async () => {
    await call('hv.switch', { channel: 0, on: false });
    await until('it is off', async () => (await status('hv'))[0]?.on === 0);
    await nodeRed('POST', '/inject/hv-0-100-v');
    await nodeRed('POST', '/inject/hv-0-on');
    await until('it is on', async () => (await status('hv'))[0]?.on === 1);
    const seen = async () => nodeRed('GET', '/context/flow/slow-control?store=memory');
    await until('Node-RED has the readings', async () => (await seen()).includes('hv/ch0.vmeas'));
  });

  const requests = async () => (await status('hv')).map(({ on, vreq }) => ({ on, vreq }));

  it.each([
    ['hv.switch', { channel: 7, on: true }, 502, 'procedure-failed', 'channels 0 to 3'],
    ['hv.setv', { channel: 0, volts: 9000 }, 502, 'procedure-failed', 'from 0 to 1000'],
    ['lv.setv', { channel: 0, volts: 13 }, 502, 'procedure-failed', 'from 0 to 12'],
    ['hv.setv', { channel: 0, volts: 'high' }, 422, 'invalid-arguments', ''],
    ['hv.setv', { channel: 0, volts: -1 }, 422, 'invalid-arguments', ''],
    ['hv.switch', { channel: 0, on: 'perhaps' }, 422, 'invalid-arguments', ''],
    ['hv.explode', { channel: 0 }, 404, 'procedure-not-found', ''],
    ['xv.switch', { channel: 0, on: true }, 404, 'procedure-not-found', ''],
  ])(
    'refuses %s %j over HTTP with %i %s, and nothing changes',
    async (procedure, kwargs, code, name, words) => {
      const before = await requests();
      const answer = await call(procedure, kwargs);
      expect(answer).toMatchObject({ status: code, body: { code: name } });
      expect(JSON.stringify(answer.body)).toContain(words);
      expect(await requests()).toEqual(before);
    },
  );

  it('says at the devices and in Node-RED what was refused', async () => {
    const before = await requests();
    const heard = client('mosquitto_sub', ['-t', '/hv/error', '-C', '1', '-W', '20']);
    let error = '';
    void heard.then((text) => {
      error = text;
    });
    await until('the refusal is heard', async () => {
      await publish('/hv/cmd/switch/9', 'on');
      return error;
    });
    expect(JSON.parse(error)).toMatchObject({ code: 'no-such-channel', channel: '9' });
    await nodeRed('POST', '/inject/hv-0-9-kv');
    await until('Node-RED caught it', async () =>
      (await nodeRed('GET', '/context/flow/slow-control?store=memory')).includes('from 0 to 1000'),
    );
    expect(await requests()).toEqual(before);
  });

  it('does nothing for a viewer, and keeps who called what', async () => {
    const { username, password, tenant } = admin;
    const login = await api('POST', '/v1/auth/login', { username, password });
    const key = await api(
      'POST',
      `/v1/tenants/${tenant}/api-keys`,
      { name: 'viewer', role: 'user_iot' },
      login.body.token,
    );
    const before = await requests();
    expect(await call('hv.switch', { channel: 2, on: true }, key.body.key)).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    expect(await requests()).toEqual(before);
    await until('the calls are in the audit', async () => {
      const { body } = await api('GET', `/v1/tenants/${tenant}/audit-events?limit=100`);
      return JSON.stringify(body).includes('hv.switch');
    });
  });

  it('keeps the broker to loopback and to those with a password, each to its own topics', async () => {
    const ours = findMarked(stackMark, (await readRecord(home))?.id ?? 'none');
    const broker = ours.find(({ command }) => command.includes('mosquitto.conf'));
    expect(listeningAddresses([broker?.pid ?? 0])).toEqual([`127.0.0.1:${env.BOARDWALK_MQTT_PORT}`]);

    // Debian's program itself, without the operator's login.
    const tools = await testPart('mosquitto');
    const plain = ['-h', '127.0.0.1', '-p', String(env.BOARDWALK_MQTT_PORT), '-q', '1'];
    const command = ['-t', '/hv/cmd/switch/3', '-m', 'on'];
    const anonymous = await runProgram(tools.publish, [...plain, ...command], { env: tools.env });
    expect(anonymous.code).not.toBe(0);
    const { sensor } = JSON.parse(await readFile(join(home, 'slow-control.json'), 'utf8'));
    const asSensor = [...plain, '-u', 'sensor', '-P', sensor, ...command];
    expect((await runProgram(tools.publish, asSensor, { env: tools.env })).code).toBe(0);
    expect((await status('hv'))[3]).toMatchObject({ on: 0 });
  });

  it('trips the high voltage when the sensor is over its limit', async () => {
    await call('hv.switch', { channel: 0, on: true });
    await call('hv.switch', { channel: 3, on: true });
    const since = performance.now();
    await publish('/sensor/status', '{"meas1": 2, "meas2": 2}');
    await until('every channel is off', async () => (await status('hv')).every(({ on }) => on === 0), {
      timeoutMs: 20_000,
    });
    const tookMs = performance.now() - since;
    const alarm = await until('the alarm has cleared', async () => {
      const { body } = await api('GET', '/v1/alarms');
      return body.items.find(
        ({ ruleName, state }: Record<string, string>) => ruleName === 'hv-interlock' && state === 'cleared',
      );
    });
    expect(alarm).toMatchObject({ stream: 'sensor/meas2', value: 2, severity: 'critical' });
    await until('its operation is done', async () => {
      const { body } = await api('GET', `/v1/operations/${alarm.operation}`);
      return body.state === 'succeeded' && body.procedure === 'hv.off';
    });
    console.log(`the interlock took ${Math.round(tookMs)} ms`);
  });

  it('has in InfluxDB what it has stored, point for point', async () => {
    const now = await until(
      'a while has passed',
      async () => {
        const at = Number(await lastAt());
        return at > startedAt + 10_000 && at;
      },
      { timeoutMs: 30_000 },
    );
    const window = { from: now - 8_000, to: now - 1_000 };
    for (const stream of ['hv/ch0.on', 'hv/ch0.vreq', 'hv/ch0.vmeas', 'sensor/meas1']) {
      const stored = await storedPoints(stream, window);
      expect(stored.length).toBeGreaterThan(4);
      await until(
        `${stream} is in InfluxDB`,
        async () => (await influxPoints(stream, window)) === stored.length,
      );
    }
  });

  const startedAt = Date.now();
  const lastAt = async () => {
    const { body } = await api('GET', '/v1/boards/slow-control/streams?limit=100');
    return Date.parse(body.items.find(({ name }: { name: string }) => name === 'hv/ch0.on')?.lastAt);
  };
  const storedPoints = async (stream: string, { from, to }: { from: number; to: number }) => {
    const query = new URLSearchParams({
      stream,
      from: new Date(from).toISOString(),
      to: new Date(to).toISOString(),
      resolution: 'raw',
    });
    const { body } = await api('GET', `/v1/boards/slow-control/readings?${query}`);
    return body.series[0].points as unknown[];
  };
  async function influxPoints(stream: string, { from, to }: { from: number; to: number }): Promise<number> {
    const [module = '', measurement = ''] = stream.split('/');
    const login = (await readFile(join(home, 'influx-curlrc'), 'utf8')).split('"')[1] ?? '';
    const response = await fetch(`http://127.0.0.1:${env.BOARDWALK_INFLUX_PORT}/query`, {
      method: 'POST',
      headers: { Authorization: `Basic ${Buffer.from(login).toString('base64')}` },
      body: new URLSearchParams({
        db: 'slow_control',
        q: `SELECT COUNT("${measurement}") FROM "${module}" WHERE time >= ${from}ms AND time < ${to}ms`,
      }),
    });
    const { results } = (await response.json()) as { results: { series?: { values: number[][] }[] }[] };
    return results[0]?.series?.[0]?.values[0]?.[1] ?? 0;
  }

  it('does what docs/slow-control.md says', async () => {
    const text = await readFile(join(repositoryRoot, 'docs/slow-control.md'), 'utf8');
    const script = [...text.matchAll(/^```sh run\n(.*?)^```/gms)].map((match) => match[1]).join('\n');
    const output = await runShell(script, env);
    expect(output).toContain('"on":1');
    expect(output).toContain('"code":"procedure-failed"');
    expect(output).toContain('"code":"invalid-arguments"');
    expect(output).toContain('hv/ch0.vmeas');
    expect(output).toContain('hv-interlock');
  });

  it(
    'finds all of it again at the second start',
    async () => {
      demo.child.kill('SIGTERM');
      expect(await demo.ended).toBe(0);
      demo = runBin('demo-slow-control.mjs', env);
      await demo.ready(startMs);
      expect(await call('hv.switch', { channel: 0, on: true })).toMatchObject({ status: 200 });
      await nodeRed('POST', '/inject/hv-0-off');
      await until('Node-RED switched it off', async () => (await status('hv'))[0]?.on === 0);
    },
    startMs + 30_000,
  );
});

function runShell(script: string, env: StackEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      cwd: repositoryRoot,
      env: { ...process.env, ...env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
      timeout: 90_000,
    };
    const running = execFile('bash', ['-s'], options, (error, stdout, stderr) => {
      if (error) reject(new Error(`it failed:\n${stdout}\n${stderr}`, { cause: error }));
      else resolve(stdout);
    });
    running.stdin?.end(`set -eu\n${script}`);
  });
}
