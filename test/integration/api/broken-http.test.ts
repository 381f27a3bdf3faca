/** What is no request at all, on a bare socket: refused in the form of every refusal, and the process goes on. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => api?.stop());

async function send(text: string): Promise<{ head: string; body: string }> {
  const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
  let heard = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    heard += chunk;
  });
  socket.write(text);
  await once(socket, 'close');
  const [head = '', body = ''] = heard.split('\r\n\r\n', 2);
  return { head, body };
}

const post = 'POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';

it.each([
  ['another protocol', '\x16\x03\x01\x02\x00\x01\x00\x01', 400],
  ['two lengths', `${post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x`, 400],
  ['a length and chunks', `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ['an unknown transfer coding', `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`, 400],
  ['a bare line feed in a header', 'GET /v1/me HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n', 400],
  ['headers beyond 16 KiB', `GET /v1/me HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
])('%s is refused', async (_what, text, status) => {
  const { head, body } = await send(text);
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*Content-Type: application/problem\\+json`));
  expect(JSON.parse(body)).toMatchObject({ status, code: 'invalid-request', requestId: expect.any(String) });
  expect((await api.request('/healthz')).status).toBe(200);
});
