/** What works by itself, from the outside: due times with and without a link, and events that are posted. */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient } from '../../bin/stack/api-client.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf, enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { until } from '../harness/until.ts';
import { openEvents } from '../integration/events-support.ts';

interface Posted {
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

let stack: TestStack;
let board: TestBoard;
let api: ApiClient;
let receiver: Server;
const posted: Posted[] = [];
let receiverUrl: string;
let webhooks: string;
let secret: string;

beforeAll(async () => {
  stack = await startStack({
    conductors: 2,
    env: { BOARDWALK_WEBHOOK_ALLOW_PRIVATE: '1', BOARDWALK_BATCH_INTERVAL_MS: '500' },
  });
  api = clientOf(stack);
  board = await enrolBoard(stack, { name: 'gw' });
  await board.start();
  receiver = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    posted.push({
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
    });
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  webhooks = `/v1/tenants/${stack.admin.tenant}/webhooks`;
  receiverUrl = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  const hook = { name: 'hook', url: `${receiverUrl}/hook`, types: ['operation'] };
  secret = String((await api.request('POST', webhooks, hook)).secret);
}, 120_000);

afterAll(async () => {
  receiver?.closeAllConnections();
  receiver?.close();
  await board?.end('SIGTERM');
  await stack?.stop();
}, 60_000);

interface Run {
  dueAt: string;
  outcome: string;
  operation: string;
  detail: string | null;
}

const everySeconds = 2;

async function schedule(name: string, more: object): Promise<string> {
  const operation = { procedure: 'ping', target: { boards: ['gw'] } };
  const made = await api.request('POST', '/v1/schedules', {
    name,
    timing: { everySeconds },
    operation,
    overlap: 'queue',
    catchUp: 'all',
    catchUpLimit: 100,
    ...more,
  });
  return String(made.id);
}

/** Oldest first. */
async function runsOf(id: string): Promise<Run[]> {
  const { items } = await api.request('GET', `/v1/schedules/${id}/runs?limit=500`);
  return (items as Run[]).reverse();
}

/** Between two due times, in seconds; each is there once. */
const gaps = (runs: readonly Run[]) =>
  runs.slice(1).map((each, index) => (Date.parse(each.dueAt) - Date.parse(runs[index]?.dueAt ?? '')) / 1000);

function expectSigned({ headers, body }: Posted, by: string): void {
  const [, seconds, digest] = /^t=(\d+),v1=(.*)$/.exec(String(headers['boardwalk-signature'])) ?? [];
  expect(createHmac('sha256', by).update(`${seconds}.${body}`).digest('hex')).toBe(digest);
}

async function expectAllSucceeded(runs: readonly Run[]): Promise<void> {
  for (const { operation } of runs)
    await until(
      `${operation} succeeded`,
      async () => {
        const { state } = await api.request('GET', `/v1/operations/${operation}`);
        return state === 'succeeded';
      },
      { timeoutMs: 60_000 },
    );
}

describe('a schedule', () => {
  it('makes each due time one operation, also while conductors are killed, and each end is posted', async () => {
    const id = await schedule('steady', {});
    await until('it runs', async () => (await runsOf(id)).length >= 2, { timeoutMs: 30_000 });
    stack.kill('conductor');
    await until('the other goes on', async () => (await runsOf(id)).length >= 5, { timeoutMs: 30_000 });
    stack.kill('conductor-2');
    await until('they go on', async () => (await runsOf(id)).length >= 10, { timeoutMs: 60_000 });
    await api.request('POST', `/v1/schedules/${id}/pause`);
    const runs = await runsOf(id);
    expect(new Set(gaps(runs))).toEqual(new Set([everySeconds]));
    expect(new Set(runs.map((each) => each.outcome))).toEqual(new Set(['created']));
    await expectAllSucceeded(runs);
    const ends = () =>
      new Set(
        posted
          .map(({ body }) => JSON.parse(body) as { data: { operation: string; state: string } })
          .filter(({ data }) => data.state === 'succeeded')
          .map(({ data }) => data.operation),
      );
    await until('the ends are posted', () => runs.every(({ operation }) => ends().has(operation)), {
      timeoutMs: 60_000,
    });
    for (const each of posted) expectSigned(each, secret);
  }, 240_000);

  it('that is the board’s goes on without a link, and all of it is told afterwards', async () => {
    const id = await schedule('alone', { offline: true });
    await until('the board runs it', async () => (await runsOf(id)).length >= 2, { timeoutMs: 60_000 });
    stack.kill('crossbar');
    const before = (await runsOf(id)).length;
    await until('it is told after the outage', async () => (await runsOf(id)).length >= before + 6, {
      timeoutMs: 120_000,
    });
    await api.request('POST', `/v1/schedules/${id}/pause`);
    const runs = await runsOf(id);
    expect(new Set(gaps(runs))).toEqual(new Set([everySeconds]));
    expect(new Set(runs.map((each) => each.outcome))).toEqual(new Set(['ran-offline']));
    await expectAllSucceeded(runs);
    const { lastDueAt } = await api.request('GET', `/v1/schedules/${id}`);
    expect(Date.parse(String(lastDueAt))).toBeGreaterThanOrEqual(Date.parse(runs.at(-1)?.dueAt ?? ''));
  }, 240_000);
});

describe('the devices behind a gateway, and their alarms', () => {
  let gateway: TestBoard;
  let devicePort: number;

  beforeAll(async () => {
    devicePort = await findFreePort();
    gateway = await enrolBoard(stack, {
      name: 'door',
      settings: {
        sources: [{ kind: 'http', port: devicePort, rules: [{ match: 'r', decoder: 'json' }] }],
      },
    });
    await gateway.start();
  }, 60_000);
  afterAll(() => gateway?.end('SIGTERM'));

  async function say(device: string, temp: number): Promise<void> {
    const response = await fetch(`http://127.0.0.1:${devicePort}/r`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ device, data: { temp } }),
    });
    await response.body?.cancel();
    expect(response.status).toBe(200);
  }

  it('are told of live and by webhook: each change once, and the same to both', async () => {
    const hook = { name: 'devices', url: `${receiverUrl}/devices`, types: ['module', 'alarm'] };
    const own = String((await api.request('POST', webhooks, hook)).secret);
    const modules = `/v1/boards/${gateway.uuid}/modules`;
    const [live, modulesOnly] = await Promise.all([
      openEvents(stack.apiUrl, stack.admin.apiKey, { query: 'types=module,alarm' }),
      openEvents(stack.apiUrl, stack.admin.apiKey, { query: `types=module&board=${gateway.uuid}` }),
    ]);
    try {
      const waits = (device: string) =>
        until(`${device} waits at the door`, async () => {
          const { items } = await api.request('GET', `${modules}?state=quarantined`);
          return (items as { name: string }[]).some(({ name }) => name === device);
        });
      await say('n1', 21);
      await waits('n1');
      for (const state of ['accepted', 'quarantined', 'rejected', 'accepted'])
        await api.request('PATCH', `${modules}/n1`, { state });
      await api.request('POST', modules, { name: 'n2' });
      await api.request('DELETE', `${modules}/n2`);
      await say('x1', 1);
      await waits('x1');
      await api.request('DELETE', `${modules}?state=quarantined`);

      const alarmIs = (state: string, temp: number) =>
        until(
          `the alarm is ${state}`,
          async () => {
            await say('n1', temp);
            const { items } = await api.request('GET', `/v1/alarms?state=${state}&board=${gateway.uuid}`);
            return (items as { id: string }[])[0]?.id;
          },
          { timeoutMs: 30_000, everyMs: 250 },
        );
      const condition = { above: { threshold: 30 } };
      await api.request('POST', '/v1/alarm-rules', { name: 'n1 too hot', stream: 'n1/temp', condition });
      const alarm = await alarmIs('raised', 40);
      await api.request('POST', `/v1/alarms/${alarm}/acknowledge`, { comment: 'seen' });
      await alarmIs('cleared', 20);

      const changes = [
        'n1 discovered quarantined',
        'n1 accepted accepted',
        'n1 quarantined quarantined',
        'n1 rejected rejected',
        'n1 accepted accepted',
        'n2 created accepted',
        'n2 forgotten accepted',
        'x1 discovered quarantined',
        'x1 forgotten quarantined',
      ];
      const alarmChanges = ['raised', 'acknowledged', 'cleared'];
      const ofModules = ({ module, change, state }: Record<string, unknown>) =>
        `${module} ${change} ${state}`;
      await until('the alarm’s end is told', () => live.of('alarm').length === alarmChanges.length);
      expect(live.of('module').map(({ data }) => ofModules(data))).toEqual(changes);
      expect(live.of('alarm').map(({ data }) => data.change)).toEqual(alarmChanges);
      expect(live.of('alarm')[0]?.data).toMatchObject({ alarm, ruleName: 'n1 too hot', boardName: 'door' });
      expect(modulesOnly.of('module').map(({ data }) => data)).toEqual(
        live.of('module').map(({ data }) => data),
      );
      expect(modulesOnly.of('alarm')).toEqual([]);
      for (const { data } of live.of('module'))
        expect(data).toEqual({
          type: 'module',
          tenant: expect.any(String),
          board: gateway.uuid,
          module: expect.any(String),
          state: expect.any(String),
          origin: data.module === 'n2' ? 'created' : 'discovered',
          change: expect.any(String),
          at: expect.stringMatching(/^20.*Z$/),
        });

      const mine = () => posted.filter(({ path }) => path === '/devices');
      const total = changes.length + alarmChanges.length;
      await until('all of it is posted', () => mine().length >= total, { timeoutMs: 30_000 });
      const bodies = mine().map((each) => {
        expectSigned(each, own);
        return JSON.parse(each.body) as { type: string; tenant: string; data: Record<string, unknown> };
      });
      // Each may come more than once, and in another order; never with other words.
      const inWords = (event: object) => JSON.stringify(Object.entries(event).sort());
      const told = new Set(bodies.map(({ type, tenant, data }) => inWords({ type, tenant, ...data })));
      const shown = [...live.of('module'), ...live.of('alarm')].map(({ data }) => inWords(data));
      expect([...told].sort()).toEqual(shown.toSorted());
    } finally {
      live.close();
      modulesOnly.close();
    }
  }, 120_000);
});
