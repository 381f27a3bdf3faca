import { afterEach, describe, expect, it } from 'vitest';
import { createAgentDirectory } from '../../../common/relay/agent-directory.ts';
import type { RelayCall } from '../../../common/relay/messages.ts';
import { createRelayClient, type RelayClient } from '../../../common/relay/relay-client.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { until } from '../../harness/until.ts';
import { answerJson, type FakeRelay, startFakeRelay } from './fake-relay.ts';

const call: RelayCall = {
  boardUuid: '11111111-1111-4111-8111-111111111111',
  sessionId: '22222222-2222-4222-8222-222222222222',
  procedure: 'ping',
  timeoutMs: 2000,
  contractsHash: null,
  requestId: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  caller: { kind: 'user', id: 'u' },
};

describe('the relay client', () => {
  const relays: FakeRelay[] = [];
  let client: RelayClient | undefined;

  afterEach(async () => {
    client?.close();
    await Promise.all(relays.splice(0).map((relay) => relay.stop()));
  });

  async function relay(...[id, answer]: Parameters<typeof startFakeRelay>): Promise<FakeRelay> {
    const started = await startFakeRelay(id, answer);
    relays.push(started);
    return started;
  }

  function clientOf(agents: FakeRelay[], maxInFlight?: number): RelayClient {
    const directory = createAgentDirectory({ findAgents: async () => agents.map(({ agent }) => agent) });
    client = createRelayClient({
      directory,
      key: 'relay-key',
      logger: createLogger('test', 'silent'),
      ...(maxInFlight !== undefined && { maxInFlight }),
    });
    return client;
  }

  const result = { result: { pong: true }, durationMs: 1.5 };

  it('calls below the path under which a relay is reached', async () => {
    const paths: (string | undefined)[] = [];
    const behind = await relay('a', (request, response) => {
      paths.push(request.url);
      answerJson(response, 200, result);
    });
    behind.agent.relayUrl += '/cells/one/';
    await clientOf([behind]).call('default', call);
    expect(paths).toEqual(['/cells/one/relay/rpc']);
  });

  it('posts the call with the key and gives back the result', async () => {
    let authorization: string | undefined;
    const only = await relay('a', (request, response) => {
      authorization = request.headers.authorization;
      answerJson(response, 200, result);
    });
    await expect(clientOf([only]).call('default', { ...call, kwargs: { x: 1 } })).resolves.toEqual(result);
    expect(authorization).toBe('Bearer relay-key');
    expect(only.received[0]).toMatchObject({ ...call, kwargs: { x: 1 }, timeoutMs: expect.any(Number) });
    expect(only.received[0]?.timeoutMs).toBeLessThan(call.timeoutMs);
  });

  it('keeps its connection for the next call', async () => {
    const ports = new Set<number | undefined>();
    const only = await relay('a', (request, response) => {
      ports.add(request.socket.remotePort);
      answerJson(response, 200, result);
    });
    const { call: post } = clientOf([only]);
    for (let count = 0; count < 5; count += 1) await post('default', call);
    expect(ports.size).toBe(1);
  });

  it('divides the calls over the agents of the cell', async () => {
    const both = await Promise.all(
      ['a', 'b'].map((id) => relay(id, (_request, response) => answerJson(response, 200, result))),
    );
    const { call: post } = clientOf(both);
    for (let count = 0; count < 6; count += 1) await post('default', call);
    expect(both.map(({ received }) => received.length)).toEqual([3, 3]);
  });

  it('goes to the next agent when one refuses connections, and lets that one rest', async () => {
    const dead = await relay('dead', () => undefined);
    await dead.stop();
    const alive = await relay('alive', (_request, response) => answerJson(response, 200, result));
    const { call: post } = clientOf([dead, alive]);
    for (let count = 0; count < 4; count += 1) await expect(post('default', call)).resolves.toEqual(result);
  });

  it('goes to the next agent when one says that it gave the call to nobody', async () => {
    const unjoined = await relay('a', (_request, response) =>
      answerJson(response, 503, {
        code: 'relay-unavailable',
        message: 'no router',
        details: { mayHaveRun: false },
      }),
    );
    const joined = await relay('b', (_request, response) => answerJson(response, 200, result));
    const { call: post } = clientOf([unjoined, joined]);
    await expect(post('default', call)).resolves.toEqual(result);
    await expect(post('default', call)).resolves.toEqual(result);
    expect(joined.received).toHaveLength(2);
  });

  it('never repeats a call that an agent took and then broke off', async () => {
    const breaking = await Promise.all(
      ['a', 'b'].map((id) => relay(id, (request) => request.socket.destroy())),
    );
    await expect(clientOf(breaking).call('default', call)).rejects.toMatchObject({
      code: 'relay-unavailable',
      details: { mayHaveRun: true },
    });
    expect(breaking.flatMap(({ received }) => received)).toHaveLength(1);
  });

  it('never repeats a call whose answer broke off halfway', async () => {
    const breaking = await Promise.all(
      ['a', 'b'].map((id) =>
        relay(id, (request, response) => {
          response.writeHead(200, { 'content-length': 1000 }).write('{"result":');
          setTimeout(() => request.socket.destroy(), 20);
        }),
      ),
    );
    await expect(clientOf(breaking).call('default', call)).rejects.toMatchObject({
      code: 'relay-unavailable',
      details: { mayHaveRun: true },
    });
    expect(breaking.flatMap(({ received }) => received)).toHaveLength(1);
  });

  it('says that nothing was done when the cell has no live agent', async () => {
    await expect(clientOf([]).call('default', call)).rejects.toMatchObject({
      code: 'relay-unavailable',
      details: { mayHaveRun: false },
    });
  });

  it("passes a board's failure on with its details", async () => {
    const failure = { code: 'procedure-failed', message: 'too hot', details: { uri: 'com.acme.hot' } };
    const only = await relay('a', (_request, response) => answerJson(response, 502, failure));
    await expect(clientOf([only]).call('default', call)).rejects.toMatchObject(failure);
  });

  it('turns refusals that are none of the caller into relay-unavailable', async () => {
    const only = await relay('a', (_request, response) =>
      answerJson(response, 401, { code: 'unauthenticated', message: 'wrong key' }),
    );
    await expect(clientOf([only]).call('default', call)).rejects.toMatchObject({
      code: 'relay-unavailable',
      details: { mayHaveRun: false },
    });
  });

  it('goes to the next agent when one does not take its key', async () => {
    const other = await relay('a', (_request, response) =>
      answerJson(response, 401, { code: 'unauthenticated', message: 'wrong key' }),
    );
    const own = await relay('b', (_request, response) => answerJson(response, 200, result));
    await expect(clientOf([other, own]).call('default', call)).resolves.toEqual(result);
  });

  it('takes a call for one that may have run when a relay says nothing that it knows', async () => {
    const answers = [
      [500, { code: 'internal', message: 'internal error' }],
      [502, 'what?'],
      [200, {}],
    ] as const;
    for (const [status, body] of answers) {
      const only = await relay('a', (_request, response) => answerJson(response, status, body as object));
      await expect(clientOf([only]).call('default', call)).rejects.toMatchObject({
        code: 'relay-unavailable',
        details: { mayHaveRun: true },
      });
      client?.close();
    }
  });

  it('passes on whether a call may have reached the board', async () => {
    for (const mayHaveRun of [true, false]) {
      const failure = { code: 'board-offline', message: 'it is away', details: { mayHaveRun } };
      const only = await relay('a', (_request, response) => answerJson(response, 409, failure));
      await expect(clientOf([only]).call('default', call)).rejects.toMatchObject(failure);
      client?.close();
    }
  });

  it('does not believe an answer that makes no sense', async () => {
    const only = await relay('a', (_request, response) => answerJson(response, 200, { durationMs: 'x' }));
    await expect(clientOf([only]).call('default', call)).rejects.toMatchObject({ code: 'relay-unavailable' });
  });

  it('ends at the deadline when the relay says nothing, and lets the relay know', async () => {
    const gone: unknown[] = [];
    const only = await relay('a', (request) => request.socket.on('close', () => gone.push(true)));
    const startedAt = performance.now();
    const late = clientOf([only]).call('default', { ...call, timeoutMs: 150 });
    await expect(late).rejects.toMatchObject({
      code: 'deadline-exceeded',
      details: { mayHaveRun: true },
    });
    expect(performance.now() - startedAt).toBeLessThan(400);
    await until('the relay sees it', () => gone.length);
  });

  it('knows that a call whose deadline passed before any relay had it has not run', async () => {
    const directory = createAgentDirectory({ findAgents: () => new Promise(() => undefined) });
    client = createRelayClient({ directory, key: 'k', logger: createLogger('test', 'silent') });
    await expect(client.call('default', { ...call, timeoutMs: 50 })).rejects.toMatchObject({
      code: 'deadline-exceeded',
      details: { mayHaveRun: false },
    });
    await expect(client.call('default', call, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      message: 'the caller went away',
      details: { mayHaveRun: false },
    });
  });

  it('knows that a call which a relay gave back has not run when nobody waits for the next one', async () => {
    const unjoined = await relay('a', (_request, response) =>
      answerJson(response, 503, {
        code: 'relay-unavailable',
        message: 'no router',
        details: { mayHaveRun: false },
      }),
    );
    const leave = new AbortController();
    const agentsOf = async () => [unjoined.agent, unjoined.agent];
    const directory = { agentsOf, all: agentsOf, reportRefusal: () => leave.abort() };
    client = createRelayClient({ directory, key: 'k', logger: createLogger('test', 'silent') });
    await expect(client.call('default', call, { signal: leave.signal })).rejects.toMatchObject({
      message: 'the caller went away',
      details: { mayHaveRun: false },
    });
    expect(unjoined.received).toHaveLength(1);
  });

  it('says that nothing was done when it cannot learn of the agents', async () => {
    const findAgents = () => Promise.reject(new AppError('unavailable', 'the database is away'));
    const directory = createAgentDirectory({ findAgents });
    client = createRelayClient({ directory, key: 'k', logger: createLogger('test', 'silent') });
    await expect(client.call('default', call)).rejects.toMatchObject({
      code: 'unavailable',
      details: { mayHaveRun: false },
    });
  });

  it('cancels at the relay when its caller goes away', async () => {
    const gone: unknown[] = [];
    const only = await relay('a', (request) => request.socket.on('close', () => gone.push(true)));
    const leave = new AbortController();
    const pending = clientOf([only]).call('default', call, { signal: leave.signal });
    const outcome = expect(pending).rejects.toMatchObject({
      message: 'the caller went away',
      details: { mayHaveRun: true },
    });
    await until('the call arrived', () => only.received.length === 1);
    leave.abort();
    await outcome;
    await until('the relay sees it', () => gone.length);
  });

  it('refuses calls beyond its limit at once', async () => {
    const held: (() => void)[] = [];
    const only = await relay('a', (_request, response) => {
      held.push(() => answerJson(response, 200, result));
    });
    const { call: post, inFlight } = clientOf([only], 1);
    const first = post('default', call);
    await expect(post('default', call)).rejects.toMatchObject({
      code: 'too-many-calls',
      details: { mayHaveRun: false },
    });
    await until('the call arrived', () => held.length === 1);
    held[0]?.();
    await first;
    await until('room again', () => inFlight() === 0);
  });

  it('hands out progressive results in order, the slow taker slowing the sender', async () => {
    const only = await relay('a', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.end('{"progress":1}\n{"progress":2}\n{"result":3,"durationMs":4}\n');
    });
    const taken: unknown[] = [];
    const answer = clientOf([only]).call(
      'default',
      { ...call, progress: true },
      {
        onProgress: (value) => new Promise((resolve) => setImmediate(() => resolve(void taken.push(value)))),
      },
    );
    await expect(answer).resolves.toEqual({ result: 3, durationMs: 4 });
    expect(taken).toEqual([1, 2]);
  });

  it('fails with what the last line of a progressive answer says', async () => {
    const only = await relay('a', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.end('{"progress":1}\n{"error":{"code":"procedure-failed","message":"no"}}\n');
    });
    const answer = clientOf([only]).call(
      'default',
      { ...call, progress: true },
      { onProgress: () => undefined },
    );
    await expect(answer).rejects.toMatchObject({ code: 'procedure-failed', message: 'no' });
  });

  it('knows that a progressive answer without an end may have run', async () => {
    const only = await relay('a', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.end('{"progress":1}\n');
    });
    const answer = clientOf([only]).call(
      'default',
      { ...call, progress: true },
      { onProgress: () => undefined },
    );
    await expect(answer).rejects.toMatchObject({ code: 'relay-unavailable', details: { mayHaveRun: true } });
  });
});
