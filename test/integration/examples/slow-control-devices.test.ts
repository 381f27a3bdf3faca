/** The device programs on a real broker, with its own clients. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMosquitto, type TestMosquitto } from '../../harness/mosquitto.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';

interface Channel {
  number: number;
  on: number;
  vreq: number;
  vmeas: number;
}

describe('the slow-control devices', () => {
  let broker: TestMosquitto;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    broker = await startMosquitto();
    for (const name of ['hv', 'lv', 'sensor']) {
      const script = join(repositoryRoot, `examples/slow-control/devices/${name}.ts`);
      const env = { ...process.env, MQTT_URL: broker.url };
      running.push(spawn(process.execPath, [script], { env, stdio: ['ignore', 'ignore', 'inherit'] }));
    }
    await Promise.all(['hv', 'lv', 'sensor'].map((name) => status(name)));
  });
  afterAll(async () => {
    for (const child of running) {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    }
    await broker?.stop();
  });

  const status = async (device: string): Promise<unknown> => {
    const [message] = await broker.subscribe(`/${device}/status`);
    return JSON.parse(message?.payload ?? '');
  };
  const channel = async (device: string, number: number) => ((await status(device)) as Channel[])[number];

  it('publish a list of channels, each second', async () => {
    const startedAt = performance.now();
    const messages = await broker.subscribe('/hv/status', { count: 3 });
    expect(performance.now() - startedAt).toBeLessThan(4_500);
    for (const { payload } of messages)
      expect(JSON.parse(payload)).toEqual(
        [0, 1, 2, 3].map((number) => ({
          number,
          on: expect.any(Number),
          vreq: expect.any(Number),
          vmeas: expect.any(Number),
        })),
      );
  });

  it('publish the two measurements of the sensor', async () => {
    const { meas1, meas2 } = (await status('sensor')) as { meas1: number; meas2: number };
    expect(Math.abs(meas1)).toBeLessThanOrEqual(1);
    expect(meas2).toBe(Math.abs(meas1));
  });

  it('are switched and set, and ramp to the request', async () => {
    await broker.publish('/hv/cmd/setv/0', '100');
    await broker.publish('/hv/cmd/switch/0', 'on');
    const ramp = await broker.subscribe('/hv/status', { count: 2 });
    const first = (JSON.parse(ramp[0]?.payload ?? '') as Channel[])[0];
    expect(first).toMatchObject({ on: 1, vreq: 100 });
    expect(first?.vmeas).toBeLessThan(100);
    await until('100 V are reached', async () => (await channel('hv', 0))?.vmeas === 100);
    expect(await channel('lv', 0)).toMatchObject({ on: 0, vreq: 0 });
  });

  it.each([
    ['/hv/cmd/switch/9', 'on', 'no-such-channel'],
    ['/hv/cmd/explode/0', 'on', 'unknown-command'],
    ['/lv/cmd/setv/0', '13', 'bad-value'],
    ['/lv/cmd/switch/0', 'perhaps', 'bad-value'],
    ['/sensor/cmd/switch/0', 'on', 'unknown-command'],
    ['/lv/cmd/switch/0/1', 'on', 'unknown-command'],
  ])('refuse %s %j with %s, and stay as they are', async (topic, payload, code) => {
    const device = topic.split('/')[1] ?? '';
    const before = settings(await status(device));
    const answers: Promise<{ payload: string }[]> = broker.subscribe(`/${device}/error`);
    // The subscriber is a process of its own that is there some time later.
    let answered: { payload: string }[] | undefined;
    void answers.then((all) => {
      answered = all;
    });
    await until('the refusal is heard', async () => {
      await broker.publish(topic, payload);
      return answered;
    });
    expect(JSON.parse(answered?.[0]?.payload ?? '')).toMatchObject({ code, message: expect.any(String) });
    expect(settings(await status(device))).toEqual(before);
  });

  /** Without what changes by itself. */
  const settings = (value: unknown) =>
    Array.isArray(value) ? (value as Channel[]).map(({ on, vreq }) => ({ on, vreq })) : [];
});
