import { createServer, type Server } from 'coap';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '../../../bin/stack/ports.ts';
import { runCoapClient } from '../../harness/coap-client.ts';

describe('the CoAP client', () => {
  let server: Server;
  let port: number;

  beforeAll(async () => {
    server = createServer({ type: 'udp6' }, (request, response) => {
      response.code = request.url === '/r' ? '2.04' : '4.04';
      response.end(request.url === '/r' ? `got ${request.payload.toString('hex')}` : '');
    });
    port = await findFreePort();
    await new Promise<void>((resolve) => void server.listen(port, '::1', () => resolve()));
  });
  afterAll(async () => {
    await new Promise<void>((resolve) => void server.close(() => resolve()));
  });

  it('sends bytes and gives back code and payload', async () => {
    const answer = await runCoapClient(['-m', 'post', '-t', '42', `coap://[::1]:${port}/r`], {
      payload: Uint8Array.of(0, 255, 10),
    });
    expect(answer).toMatchObject({ code: '2.04', payload: 'got 00ff0a' });
  });

  it('tells a refusal', async () => {
    expect((await runCoapClient(['-m', 'get', `coap://[::1]:${port}/nothing`])).code).toBe('4.04');
  });

  it('tells silence', async () => {
    const answer = await runCoapClient(['-m', 'get', '-N', 'coap://127.0.0.1:9/r'], { waitSeconds: 1 });
    expect(answer.code).toBeUndefined();
  });
});
