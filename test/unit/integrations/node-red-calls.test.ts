import { createServer, type RequestListener, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../harness/until.ts';

interface Call {
  board: string;
  procedure: string;
  kwargs: object;
  timeoutMs: number;
}

const load = createRequire(import.meta.url);
const folder = '../../../integrations/node-red-contrib-boardwalk/lib';
const { callOf, callProcedure } = load(`${folder}/call-procedure.js`) as {
  callOf(config: object, msg: object): Call;
  callProcedure(server: object, call: object): Promise<unknown>;
};
const { followEvents } = load(`${folder}/follow-events.js`) as {
  followEvents(options: object): { stop(): void };
};

let server: Server | undefined;
afterEach(async () => {
  await new Promise((done) => server?.close(done) ?? done(undefined));
  server = undefined;
});

async function answerWith(listener: RequestListener): Promise<string> {
  const started = createServer({ keepAlive: false }, listener);
  server = started;
  await new Promise<void>((done) => started.listen(0, '127.0.0.1', () => done()));
  return `http://127.0.0.1:${(started.address() as { port: number }).port}`;
}

const call = (url: string, timeoutMs = 1000) =>
  callProcedure(
    { url, headers: {} },
    { board: 'b', procedure: 'p', kwargs: {}, timeoutMs, signal: new AbortController().signal },
  );

describe('a call of the Node-RED node', () => {
  it('is what the node says, and else what the message says', () => {
    expect(callOf({ board: 'a', procedure: '' }, { board: 'b', procedure: 'p', payload: { x: 1 } })).toEqual({
      board: 'a',
      procedure: 'p',
      kwargs: { x: 1 },
      timeoutMs: 30_000,
    });
    expect(callOf({ board: 'a', procedure: 'p', timeoutMs: '200' }, {}).timeoutMs).toBe(200);
  });

  it.each([
    [{ procedure: 'p' }, 'neither the node nor msg.board names a board'],
    [{ board: 'b', procedure: 5 }, 'names a procedure'],
    [{ board: 'b', procedure: 'p', timeoutMs: 'soon' }, 'the deadline must be'],
    [{ board: 'b', procedure: 'p', timeoutMs: 1e9 }, 'from 1 to 300000'],
    [
      { board: 'b', procedure: 'p', payload: 'x' },
      'msg.payload must be an object of arguments by name, not a',
    ],
  ])('is refused for %j', (msg, reason) => {
    expect(() => callOf({}, msg)).toThrow(expect.objectContaining({ code: 'invalid-arguments' }));
    expect(() => callOf({}, msg)).toThrow(reason);
  });

  it('says by codes what went wrong', async () => {
    const problem = await answerWith((_, response) => {
      response.writeHead(409, { 'content-type': 'application/problem+json' });
      response.end('{"code":"board-offline","detail":"it is away"}');
    });
    await expect(call(problem)).rejects.toMatchObject({ code: 'board-offline', status: 409 });
    server?.removeAllListeners('request').on('request', (_, response) => response.end('<html>'));
    await expect(call(problem)).rejects.toMatchObject({ code: 'no-boardwalk' });
    server?.removeAllListeners('request').on('request', (request) => request.socket.destroy());
    await expect(call(problem)).rejects.toMatchObject({ code: 'server-unreachable' });
  });
});

describe('the event stream of the Node-RED nodes', () => {
  it('takes no other page for one, and asks again', async () => {
    let asked = 0;
    const url = await answerWith((_, response) => {
      asked += 1;
      response.writeHead(200, { 'content-type': 'text/html' });
      response.end('<html>');
    });
    const states: string[] = [];
    const onState = (...state: string[]) => states.push(state.join(': '));
    const stream = followEvents({ url, headers: {}, onState, onEvent: () => undefined, firstDelayMs: 5 });
    await until('it asks again', () => asked >= 2);
    stream.stop();
    expect(states).not.toContain('connected');
    expect(states).toContain('waiting: what answers at the URL is not the API');
  });
});
