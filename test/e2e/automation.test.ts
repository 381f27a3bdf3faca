/** What works by itself, from the outside: due times with and without a link, and events that are posted. */
import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient } from '../../bin/stack/api-client.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf, enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { until } from '../harness/until.ts';

interface Posted {
  headers: IncomingMessage['headers'];
  body: string;
}

let stack: TestStack;
let board: TestBoard;
let api: ApiClient;
let receiver: Server;
const posted: Posted[] = [];
let webhooks: string;
let secret: string;

beforeAll(async () => {
  stack = await startStack({ conductors: 2, env: { BOARDWALK_WEBHOOK_ALLOW_PRIVATE: '1' } });
  api = clientOf(stack);
  board = await enrolBoard(stack, { name: 'gw' });
  await board.start();
  receiver = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    posted.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(204).end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  webhooks = `/v1/tenants/${stack.admin.tenant}/webhooks`;
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`;
  secret = String((await api.request('POST', webhooks, { name: 'hook', url, types: ['operation'] })).secret);
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
    for (const { headers, body } of posted) {
      const [, seconds, digest] = /^t=(\d+),v1=(.*)$/.exec(String(headers['boardwalk-signature'])) ?? [];
      expect(createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')).toBe(digest);
    }
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
