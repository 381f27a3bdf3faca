/** The source `http` over a real intake and spool: what is answered, and what is on disk by then. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { IntakeOutcome } from '../../../board-agent/intake/types.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { until } from '../../harness/until.ts';
import { createBench, letIn } from '../../unit/board-agent/intake/support.ts';
import { type OpenOptions, type OpenSource, openSource } from './source-support.ts';

const rules = [{ match: 'r', decoder: 'json' }];
const cleanUp: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

async function open(settings: object, take?: OpenOptions['take']): Promise<OpenSource> {
  const source = await openSource({ kind: 'http', rules, ...settings }, take && { take });
  cleanUp.push(source.close);
  return source;
}

interface Reply {
  code: number;
  headers: IncomingMessage['headers'];
  body: string;
}

function post(
  to: { socketPath: string } | { port: number; host?: string },
  path: string,
  body: string | Buffer,
  { method = 'POST', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request({ ...to, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => void chunks.push(chunk));
      response.on('end', () => {
        const { statusCode: code = 0, headers: answered } = response;
        resolve({ code, headers: answered, body: Buffer.concat(chunks).toString() });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
};

describe('the source http', () => {
  it('listens on a socket in the state folder that only its user may open', async () => {
    const { dir, heard } = await open({});
    const socketPath = join(dir, 'http.sock');
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    const reply = await post({ socketPath }, '/r?device=n1&seq=5', '{"a":1}', {
      headers: { 'content-type': 'application/json; charset=utf-8', 'idempotency-key': 'k1' },
    });
    expect(reply).toMatchObject({ code: 200 });
    expect(JSON.parse(reply.body)).toEqual({ status: 'ok', outcome: 'stored', readings: 1 });
    expect(heard).toEqual([
      {
        path: 'r',
        payload: Buffer.from('{"a":1}'),
        contentType: 'application/json',
        fields: { device: 'n1', seq: '5' },
        transmission: 'k1',
      },
    ]);
  });

  it('answers 200 only when the message is on disk, and stores a repetition once', async () => {
    const bench = createBench();
    cleanUp.push(() => bench.close());
    await letIn(bench);
    const { dir } = await open({}, (message) => bench.door.take(message));
    const socketPath = join(dir, 'http.sock');
    const body = '{"device":"n1","data":{"temp":21.5}}';
    const headers = { 'idempotency-key': 'the same' };
    const first = await post({ socketPath }, '/r', body, { headers });
    expect(JSON.parse(first.body)).toEqual({ status: 'ok', outcome: 'stored', readings: 1 });
    // Committed: it is there without any further flush.
    expect(bench.spool.peek(10)?.readings).toHaveLength(1);
    const again = await post({ socketPath }, '/r', body, { headers });
    expect(JSON.parse(again.body)).toEqual({ status: 'ok', outcome: 'duplicate' });
    expect(bench.spool.peek(10)?.readings).toHaveLength(1);
  });

  it.each([
    [{ status: 'duplicate' }, 200, undefined],
    [{ status: 'held' }, 200, undefined],
    [{ status: 'dead', reason: 'unmatched', detail: 'no rule' }, 200, undefined],
    [{ status: 'refused', reason: 'bad-mac', detail: 'wrong' }, 401, undefined],
    [{ status: 'refused', reason: 'too-large', detail: 'large' }, 413, undefined],
    [{ status: 'refused', reason: 'too-fast', detail: 'fast', retryAfterSeconds: 2.2 }, 429, '3'],
    [{ status: 'unavailable', detail: 'full', retryAfterSeconds: 5 }, 503, '5'],
  ] satisfies [IntakeOutcome, number, string | undefined][])(
    'says %j with %i',
    async (outcome, code, retryAfter) => {
      const { dir } = await open({}, async () => outcome);
      const reply = await post({ socketPath: join(dir, 'http.sock') }, '/r', 'x');
      expect(reply.code).toBe(code);
      expect(reply.headers['retry-after']).toBe(retryAfter);
      expect(JSON.parse(reply.body).status).toBe(code === 200 ? 'ok' : 'refused');
    },
  );

  it('refuses bodies beyond the limit, with an answer', async () => {
    const { dir, heard } = await open({});
    const reply = await post({ socketPath: join(dir, 'http.sock') }, '/r', Buffer.alloc(300_000));
    expect(reply.code).toBe(413);
    expect(heard).toEqual([]);
  });

  it('takes no requests of web pages, and none that are addressed to another name', async () => {
    const port = await freePort();
    const { heard } = await open({ port });
    const to = { host: '127.0.0.1', port };
    for (const headers of [
      { origin: 'http://evil.example' },
      { 'sec-fetch-site': 'cross-site' },
      { host: 'evil.example' },
    ] as Record<string, string>[])
      expect((await post(to, '/r', 'x', { headers })).code).toBe(403);
    expect(heard).toEqual([]);
    expect((await post(to, '/r', 'x', { headers: { host: `localhost:${port}` } })).code).toBe(200);
  });

  it('asks for the token when it has one', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'boardwalk-token-'));
    cleanUp.push(() => rmSync(dir, { recursive: true }));
    const tokenFile = join(dir, 'token');
    writeFileSync(tokenFile, 'a-token-of-enough-length\n', { mode: 0o600 });
    const opened = await open({ tokenFile });
    const socketPath = join(opened.dir, 'http.sock');
    expect((await post({ socketPath }, '/r', 'x')).code).toBe(401);
    const wrong = { authorization: 'Bearer another-token-of-length' };
    expect((await post({ socketPath }, '/r', 'x', { headers: wrong })).code).toBe(401);
    const right = { authorization: 'Bearer a-token-of-enough-length' };
    expect((await post({ socketPath }, '/r', 'x', { headers: right })).code).toBe(200);
    expect(opened.heard).toHaveLength(1);
  });

  it('refuses settings that let strangers in, and a token that others can read', async () => {
    expect(() => parseSettings({ sources: [{ kind: 'http', rules, port: 1, host: '0.0.0.0' }] })).toThrow(
      '/sources/0/tokenFile is required',
    );
    const dir = mkdtempSync(join(tmpdir(), 'boardwalk-token-'));
    cleanUp.push(() => rmSync(dir, { recursive: true }));
    const tokenFile = join(dir, 'token');
    writeFileSync(tokenFile, 'a-token-of-enough-length\n', { mode: 0o644 });
    await expect(open({ tokenFile })).rejects.toThrow('others may read it');
  });

  it.each([
    ['PUT', '/r', 405],
    ['GET', '/r', 404],
    ['GET', '/', 200],
    ['POST', '/%E0%A4', 400],
  ])('answers %s %s with %i', async (method, path, code) => {
    const { dir } = await open({});
    const reply = await post({ socketPath: join(dir, 'http.sock') }, path, '', { method });
    expect(reply.code).toBe(code);
  });

  it('says so while its port is taken, and takes it when it is free', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) =>
      other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port)),
    );
    const { faults } = await open({ port });
    expect(faults.at(-1)).toContain('EADDRINUSE');
    await new Promise((resolve) => other.close(resolve));
    await until('it listens', async () => faults.at(-1) === undefined, { timeoutMs: 10_000 });
    expect((await post({ host: '127.0.0.1', port }, '/r', 'x')).code).toBe(200);
  });

  it('answers what is under way before it stops, and may be started in the same folder again', async () => {
    let release: (outcome: IntakeOutcome) => void = () => undefined;
    const { dir, source, heard } = await open(
      {},
      () =>
        new Promise((resolve) => {
          release = resolve;
        }),
    );
    const reply = post({ socketPath: join(dir, 'http.sock') }, '/r', 'x');
    await until('it is heard', async () => heard.length === 1);
    const stopped = source.stop();
    release({ status: 'stored', readings: 1 });
    expect((await reply).code).toBe(200);
    await stopped;
  });
});
