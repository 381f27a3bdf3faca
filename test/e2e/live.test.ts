/** Live events from the outside: within a second, only to those who may see them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiClient } from '../../bin/stack/api-client.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { clientOf, enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { until } from '../harness/until.ts';

let stack: TestStack;
let board: TestBoard;
/** A key of another tenant. */
let strangerKey: string;

beforeAll(async () => {
  stack = await startStack({ agents: 2, apis: 2 });
  const { token } = await createApiClient(stack.apiUrl).request('POST', '/v1/auth/login', {
    username: stack.admin.username,
    password: stack.admin.password,
  });
  const admin = createApiClient(stack.apiUrl, String(token));
  await admin.request('POST', '/v1/tenants', { name: 'stranger' });
  strangerKey = String(
    (await admin.request('POST', '/v1/tenants/stranger/api-keys', { name: 'k', role: 'admin_iot_project' }))
      .key,
  );
  board = await enrolBoard(stack, {
    name: 'watched',
    settings: {
      sources: [
        { kind: 'simulated', module: 'sim', streams: [{ name: 'count', waveform: 'counter', rateHz: 10 }] },
      ],
    },
  });
  await board.start();
}, 120_000);

afterAll(async () => {
  await board?.end('SIGTERM');
  await stack?.stop();
}, 60_000);

interface LiveEvent {
  id: string | undefined;
  type: string;
  data: Record<string, unknown>;
  receivedAt: number;
}

interface Listener {
  status: number;
  events: LiveEvent[];
  close(): void;
}

/** Opens the event stream and collects what comes. */
async function listen(query: string, key: string): Promise<Listener> {
  const abort = new AbortController();
  const response = await fetch(`${stack.apiUrl}/v1/events?${query}`, {
    headers: { Authorization: `Bearer ${key}`, Accept: 'text/event-stream' },
    signal: abort.signal,
  });
  const events: LiveEvent[] = [];
  const read = async () => {
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const type = /^event: (.*)$/m.exec(block)?.[1];
        const data = /^data: (.*)$/m.exec(block)?.[1];
        const id = /^id: (.*)$/m.exec(block)?.[1];
        if (type && data) events.push({ id, type, data: JSON.parse(data), receivedAt: Date.now() });
      }
    }
  };
  // Ends with the abort.
  read().catch(() => undefined);
  return { status: response.status, events, close: () => abort.abort() };
}

describe('GET /v1/events', () => {
  it('brings fresh readings of a watched board within a second of their batch', async () => {
    const listener = await listen(`types=readings&board=${board.uuid}`, stack.admin.apiKey);
    try {
      // The board learns at once that it is watched, and sends each second from then on.
      await until(
        'readings keep coming',
        () => listener.events.filter(({ type }) => type === 'readings').length >= 4,
        { timeoutMs: 15_000 },
      );
      const ages = listener.events
        .filter(({ type }) => type === 'readings')
        .map(({ data, receivedAt }) => {
          const readings = data.readings as { at: number | string }[];
          return receivedAt - Math.max(...readings.map(({ at }) => new Date(at).getTime()));
        });
      // The newest reading of a batch is at most a tick old when the batch leaves.
      expect(Math.min(...ages)).toBeLessThan(1000);
      expect(ages.toSorted((a, b) => a - b)[Math.floor(ages.length / 2)]).toBeLessThan(1000);
    } finally {
      listener.close();
    }
  }, 40_000);

  it('brings presence changes within a second', async () => {
    const listener = await listen('types=presence', stack.admin.apiKey);
    try {
      await until('the stream is open', () => listener.events.some(({ type }) => type === 'beat'));
      await board.end('SIGTERM');
      const off = await until('offline is told', () =>
        listener.events.find(({ data }) => data.status === 'offline'),
      );
      expect(off.receivedAt - new Date(String(off.data.at)).getTime()).toBeLessThan(1000);
      await board.start();
      const on = await until('online is told', () =>
        listener.events.find(({ data }) => data.status === 'online'),
      );
      expect(on.receivedAt - new Date(String(on.data.at)).getTime()).toBeLessThan(1000);
    } finally {
      listener.close();
    }
  }, 60_000);

  it('tells nothing to another tenant', async () => {
    const own = await listen('types=presence,readings', stack.admin.apiKey);
    const stranger = await listen('types=presence,readings', strangerKey);
    const pointed = await fetch(`${stack.apiUrl}/v1/events?board=${board.uuid}`, {
      headers: { Authorization: `Bearer ${strangerKey}` },
    });
    try {
      expect(pointed.status).toBe(404);
      await board.end('SIGTERM');
      await board.start();
      await until('its own tenant is told', () => own.events.some(({ data }) => data.status === 'online'), {
        timeoutMs: 15_000,
      });
      await until('the stranger hears beats', () => stranger.events.some(({ type }) => type === 'beat'), {
        timeoutMs: 15_000,
      });
      expect(stranger.events.filter(({ type }) => type !== 'beat')).toEqual([]);
    } finally {
      await pointed.body?.cancel();
      own.close();
      stranger.close();
    }
  }, 60_000);

  it('resumes after a cut without a hole', async () => {
    const first = await listen('types=presence', stack.admin.apiKey);
    const beat = await until('the stream is open', () => first.events.find(({ type }) => type === 'beat'));
    first.close();
    await board.end('SIGTERM');
    await until('the board is offline', async () => (await board.show()).status === 'offline');
    await board.start();
    const resumed = await listen(`types=presence&after=${beat.id}`, stack.admin.apiKey);
    try {
      await until('what was missed is told', () =>
        resumed.events.some(({ data }) => data.status === 'online'),
      );
      const told = resumed.events.filter(({ type }) => type === 'presence').map(({ data }) => data.status);
      expect(told.slice(-2)).toEqual(['offline', 'online']);
      expect(resumed.events.some(({ type }) => type === 'resync')).toBe(false);
    } finally {
      resumed.close();
    }
  }, 60_000);

  it('tells a client with a foreign cursor to look again', async () => {
    const listener = await listen('types=presence&after=0', stack.admin.apiKey);
    try {
      await until('resync is told', () => listener.events.some(({ type }) => type === 'resync'));
    } finally {
      listener.close();
    }
  });
});

describe('two wamp-agents on one router', () => {
  it('divide the calls', async () => {
    const api = clientOf(stack);
    for (let index = 0; index < 20; index += 1)
      await api.request('POST', `/v1/boards/${board.uuid}/rpc/ping`, {});
    const { servers } = JSON.parse(await readFile(join(stack.home, 'stack.json'), 'utf8')) as {
      servers: { name: string; url: string }[];
    };
    const counts = await Promise.all(
      servers
        .filter(({ name }) => name.startsWith('wamp-agent'))
        .map(async ({ url }) => {
          const metrics = await (await fetch(`${url}/metrics`)).text();
          return [...metrics.matchAll(/^boardwalk_agent_relay_calls_total\{[^}]*\} (\d+)/gm)].reduce(
            (sum, match) => sum + Number(match[1]),
            0,
          );
        }),
    );
    expect(counts).toHaveLength(2);
    for (const count of counts) expect(count).toBeGreaterThan(0);
  });
});
