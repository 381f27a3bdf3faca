/** The Node-RED package in a real Node-RED: flows come by its admin API, and talk to a whole stack. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiClient } from '../../bin/stack/api-client.ts';
import { startNodeRed, type TestNodeRed } from '../harness/node-red.ts';
import { startStack, type TestStack } from '../harness/stack.ts';
import { enrolBoard, type TestBoard } from '../harness/test-board.ts';
import { repositoryRoot } from '../harness/tools.ts';
import { until } from '../harness/until.ts';

interface Message {
  topic: string;
  payload: unknown;
  [name: string]: unknown;
}

describe('the Node-RED nodes', () => {
  let stack: TestStack;
  let board: TestBoard;
  let nodeRed: TestNodeRed;

  beforeAll(async () => {
    [stack, nodeRed] = await Promise.all([
      startStack({ env: { BOARDWALK_BATCH_INTERVAL_MS: '500' } }),
      startNodeRed({ packages: [join(repositoryRoot, 'integrations/node-red-contrib-boardwalk')] }),
    ]);
    const settings = {
      sources: [
        {
          kind: 'simulated',
          module: 'sim',
          streams: [
            { name: 'count', waveform: 'counter', rateHz: 5 },
            { name: 'wave', waveform: 'sine', rateHz: 5 },
          ],
        },
      ],
    };
    board = await enrolBoard(stack, { name: 'node-red-board', settings });
    await board.start();
    await nodeRed.deploy(flows(stack));
    await flowsRun();
  });
  afterAll(async () => {
    await nodeRed?.stop();
    await board?.end('SIGTERM');
    await stack?.stop();
  });

  const flowsRun = () => until('the flows run', async () => (await fetch(`${nodeRed.url}/kept/x`)).ok);
  const call = async (body: object) => {
    const response = await fetch(`${nodeRed.url}/call`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const kept = async (name: string): Promise<Message[]> => {
    const response = await fetch(`${nodeRed.url}/kept/${name}`);
    return (await response.json()) as Message[];
  };

  it('are all offered in the editor', async () => {
    const sets = (await nodeRed.admin('GET', '/nodes')) as {
      module: string;
      types: string[];
      enabled: boolean;
    }[];
    const ours = sets.filter(({ module, enabled }) => module === 'node-red-contrib-boardwalk' && enabled);
    expect(ours.flatMap(({ types }) => types).sort()).toEqual([
      'boardwalk call',
      'boardwalk presence',
      'boardwalk readings',
      'boardwalk-server',
    ]);
  });

  it('call a procedure with the payload as arguments, and give its result', async () => {
    expect(await call({ procedure: 'echo', kwargs: { text: 'hello' } })).toMatchObject({
      status: 200,
      body: { text: 'hello' },
    });
  });

  it('give refusals to a catch node, with the code and the whole problem', async () => {
    expect(await call({ procedure: 'nothing_of_that_name' })).toMatchObject({
      status: 502,
      body: { code: 'procedure-not-found', problem: { status: 404 } },
    });
    expect(await call({ board: 'no-such-board', procedure: 'ping' })).toMatchObject({
      body: { code: 'board-not-found' },
    });
    expect(await call({ procedure: 'echo', kwargs: [1] })).toMatchObject({
      body: { code: 'invalid-arguments', message: expect.stringContaining('msg.payload must be an object') },
    });
  });

  it('bring readings of the wanted streams as they are stored', async () => {
    const messages = await until('some readings have come', async () => {
      const all = await kept('readings');
      return all.length >= 5 && all;
    });
    expect(new Set(messages.map(({ topic }) => topic))).toEqual(new Set(['sim/count']));
    expect(messages[0]).toMatchObject({ valueType: 'number', board: board.uuid });
    const values = messages.map(({ payload }) => Number(payload));
    expect(values).toEqual([...values].sort((one, other) => one - other));
  });

  it('bring presence, also what happened while the connection was down', async () => {
    await board.end('SIGTERM');
    await until('offline has come', async () => (await statuses()).includes('offline'));
    const before = (await statuses()).length;
    // The stream breaks, and the board comes while nobody listens.
    stack.kill('api');
    await board.start();
    await until('online has come', async () => (await statuses()).slice(before).includes('online'), {
      timeoutMs: 40_000,
    });
    expect(await call({ procedure: 'echo', kwargs: { text: 'again' } })).toMatchObject({ status: 200 });
  });

  const statuses = async () =>
    (await kept('presence'))
      .filter(({ topic }) => topic === board.uuid)
      .map(({ payload }) => (payload as { status: string }).status);

  it('keep the key out of the flows that are exported', async () => {
    expect(JSON.stringify(await nodeRed.admin('GET', '/flows'))).not.toContain(stack.admin.apiKey);
  });

  it('say what is wrong with a key', async () => {
    const { username, password } = stack.admin;
    const login = await createApiClient(stack.apiUrl).request('POST', '/v1/auth/login', {
      username,
      password,
    });
    const api = createApiClient(stack.apiUrl, String(login.token));
    const key = await api.request('POST', `/v1/tenants/${stack.admin.tenant}/api-keys`, {
      name: 'viewer',
      role: 'user_iot',
    });
    await nodeRed.deploy(flows(stack, String(key.key)));
    await flowsRun();
    expect(await call({ procedure: 'echo', kwargs: { text: 'hello' } })).toMatchObject({
      status: 502,
      body: { code: 'forbidden', problem: { status: 403 } },
    });
  });
});

/** `POST /call` calls; `GET /kept/readings` and `/kept/presence` give what has come. */
function flows(stack: TestStack, apiKey = stack.admin.apiKey): object[] {
  const keep = (name: string) => ({
    id: `keep-${name}`,
    type: 'function',
    z: 'tab',
    func: `const all = flow.get('${name}') ?? []; all.push(msg); flow.set('${name}', all.slice(-200));`,
    outputs: 0,
    wires: [],
  });
  return [
    { id: 'tab', type: 'tab', label: 'test' },
    {
      id: 'server',
      type: 'boardwalk-server',
      url: `${stack.apiUrl}/`,
      credentials: { apiKey },
    },
    { id: 'in', type: 'http in', z: 'tab', url: '/call', method: 'post', wires: [['arrange']] },
    {
      id: 'arrange',
      type: 'function',
      z: 'tab',
      func: "const { board = 'node-red-board', procedure, kwargs } = msg.payload; return { ...msg, board, procedure, payload: kwargs };",
      outputs: 1,
      wires: [['call']],
    },
    { id: 'call', type: 'boardwalk call', z: 'tab', server: 'server', wires: [['out']] },
    { id: 'refusals', type: 'catch', z: 'tab', scope: ['call'], wires: [['explain']] },
    {
      id: 'explain',
      type: 'function',
      z: 'tab',
      func: 'const { code, message } = msg.error; return { ...msg, statusCode: 502, payload: { code, message, problem: msg.problem } };',
      outputs: 1,
      wires: [['out']],
    },
    { id: 'out', type: 'http response', z: 'tab', wires: [] },
    {
      id: 'readings',
      type: 'boardwalk readings',
      z: 'tab',
      server: 'server',
      board: 'node-red-board',
      streams: 'sim/co*',
      wires: [['keep-readings']],
    },
    keep('readings'),
    { id: 'presence', type: 'boardwalk presence', z: 'tab', server: 'server', wires: [['keep-presence']] },
    keep('presence'),
    { id: 'ask', type: 'http in', z: 'tab', url: '/kept/:name', method: 'get', wires: [['give']] },
    {
      id: 'give',
      type: 'function',
      z: 'tab',
      func: 'msg.payload = flow.get(msg.req.params.name) ?? []; return msg;',
      outputs: 1,
      wires: [['out']],
    },
  ];
}
