/** One request after the other to the same place: over one connection, and no way around the look at addresses. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createKeptConnection, type KeptConnection } from '../../../conductor/webhooks/kept-connection.ts';
import { post } from '../../../conductor/webhooks/post.ts';
import { until } from '../../harness/until.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUps.splice(0).reverse()) await each();
});

function keep(): KeptConnection {
  const connection = createKeptConnection();
  cleanUps.push(connection.close);
  return connection;
}

async function startServer(
  answer: (response: ServerResponse, count: number) => void = (response) => response.writeHead(200).end('ok'),
) {
  const sockets: Socket[] = [];
  let count = 0;
  const server: Server = createServer((request, response) => {
    count += 1;
    request.resume().once('end', () => answer(response, count));
  });
  server.on('connection', (socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    sockets,
    requests: () => count,
  };
}

function send(
  url: string,
  connection?: KeptConnection,
  more: { allowPrivate?: boolean; timeoutMs?: number } = {},
) {
  const { allowPrivate = true, timeoutMs = 2000 } = more;
  const { signal } = new AbortController();
  const request = { url, headers: {}, body: 'text', allowPrivate, timeoutMs, signal };
  return post({ ...request, ...(connection && { connection }) });
}
const taken = { ok: true, status: 200, error: null };

describe('requests to one place', () => {
  it('share a connection that is kept, and have one each otherwise', async () => {
    const { url, sockets } = await startServer();
    const connection = keep();
    for (let count = 0; count < 5; count += 1) expect(await send(url, connection)).toEqual(taken);
    expect(sockets).toHaveLength(1);
    for (let count = 0; count < 3; count += 1) expect(await send(url)).toEqual(taken);
    expect(sockets).toHaveLength(4);
    connection.close();
    await until('it is closed', () => sockets[0]?.destroyed);
  });

  it('are sent again when the connection that was kept is closed under them', async () => {
    // Cut off after the request has come, as a server does whose time for a quiet connection ends just then.
    const { url, requests, sockets } = await startServer((response, count) => {
      if (count === 2) response.socket?.resetAndDestroy();
      else response.writeHead(200).end();
    });
    const connection = keep();
    expect(await send(url, connection)).toEqual(taken);
    expect(await send(url, connection)).toEqual(taken);
    expect(requests()).toBe(3);
    expect(sockets).toHaveLength(2);
  });

  it('fail when a fresh connection is closed, and say whether the request was out', async () => {
    const { url } = await startServer((response) => response.socket?.resetAndDestroy());
    const failed = { ok: false, status: null, isSent: true, error: 'no connection: ECONNRESET' };
    expect(await send(url, keep())).toEqual(failed);
    const nobody = await send('http://127.0.0.1:9/', keep());
    expect(nobody).toEqual({ ...failed, isSent: false, error: 'no connection: ECONNREFUSED' });
    const silent = await startServer(() => undefined);
    const late = await send(silent.url, keep(), { timeoutMs: 100 });
    expect(late).toEqual({ ...failed, error: 'no answer within 0.1 s' });
  });

  it('are looked at one by one: an open connection is no way to an address that is not allowed', async () => {
    const { url, requests } = await startServer();
    const connection = keep();
    expect(await send(url, connection)).toEqual(taken);
    const refused = await send(url, connection, { allowPrivate: false });
    expect(refused).toMatchObject({ ok: false, status: null, isSent: false });
    expect(refused.error).toMatch(/private/);
    expect(requests()).toBe(1);
  });

  it('use a connection again only while the name leads to the same addresses', async () => {
    const connection = keep();
    const url = new URL('http://name.example/');
    const four = (address: string) => ({ address, family: 4 }) as const;
    const agent = connection.agentFor(url, [four('1.1.1.1'), four('1.0.0.1')]);
    expect(connection.agentFor(url, [four('1.0.0.1'), four('1.1.1.1')])).toBe(agent);
    const other = connection.agentFor(url, [four('1.1.1.1')]);
    expect(other).not.toBe(agent);
    expect(connection.agentFor(new URL('https://name.example/'), [four('1.1.1.1')])).not.toBe(other);
  });

  it('do not wait for the rest of a long answer', async () => {
    const { url, sockets } = await startServer((response) =>
      response.writeHead(200).end('x'.repeat(5_000_000)),
    );
    const connection = keep();
    for (let count = 0; count < 3; count += 1) expect(await send(url, connection)).toEqual(taken);
    expect(sockets).toHaveLength(3);
  });
});
