/** `wait`, and whom the api wakes. The conductor is a stand-in of a few lines: it hears what it is told. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../harness/until.ts';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
beforeAll(async () => {
  ops = await startOperationsApi();
});
afterAll(async () => ops?.stop());

async function order(query: string, headers: Record<string, string> = {}, board?: string) {
  const boards = [board ?? (await ops.board())];
  const body = { procedure: 'reboot', target: { boards }, delivery: 'when-online' };
  return ops.post(`/v1/operations${query}`, body, { headers });
}
async function newestOf(board: string): Promise<string> {
  const rows = await until('the operation', async () => {
    const found = await ops.rows('SELECT operation_id AS id FROM operation_targets WHERE board_uuid = ?', [
      board,
    ]);
    return found.length > 0 ? found : undefined;
  });
  return rows[0]?.id;
}
async function succeed(id: string): Promise<void> {
  await ops.targets(id, {
    state: 'succeeded',
    queue: null,
    attempt: 1,
    result: '{"ok":true}',
    ended_at: new Date(),
  });
  await ops.api.connection.query(
    "UPDATE operations SET state = 'succeeded', ended_at = NOW(3) WHERE id = ?",
    [id],
  );
}

describe('wait, without a conductor that could be asked', () => {
  it('holds the answer until the operation has ended', async () => {
    const board = await ops.board();
    const waiting = order('?wait=20s', {}, board);
    await succeed(await newestOf(board));
    const answer = await waiting;
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body).toMatchObject({ state: 'succeeded', targets: [{ result: { ok: true } }] });
    expect(answer.headers.get('location')).toBe(`/v1/operations/${answer.body.id}`);
  });

  it('answers with the operation as it is when the time is over', async () => {
    const startedAt = performance.now();
    const answer = await order('?wait=300ms');
    expect([answer.status, answer.body.state]).toEqual([202, 'active']);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(290);
  });

  it('answers a repeat with what has become of it since', async () => {
    const board = await ops.board();
    const headers = { 'idempotency-key': randomUUID() };
    const first = await order('?wait=50ms', headers, board);
    expect(first.status).toBe(202);
    await succeed(first.body.id);
    const again = await order('?wait=50ms', headers, board);
    expect(again.status).toBe(200);
    expect(again.body).toMatchObject({ id: first.body.id, state: 'succeeded' });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
  });

  it.each(['61s', '99999ms', '5', 's', '-1s', '1.5s'])(
    'of %s is refused, and nothing is made',
    async (wait) => {
      const board = await ops.board();
      const answer = await order(`?wait=${wait}`, {}, board);
      expect([answer.status, answer.body.code]).toEqual([400, 'invalid-request']);
      expect(await ops.rows('SELECT 1 FROM operation_targets WHERE board_uuid = ?', [board])).toEqual([]);
    },
  );
});

describe('a conductor', () => {
  let server: Server;
  let heard: { operations?: string[]; boards?: string[]; waitMs?: number }[];
  const held: ServerResponse[] = [];
  beforeAll(async () => {
    heard = [];
    server = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      const wake = JSON.parse(text);
      heard.push(wake);
      if (wake.waitMs === undefined) response.writeHead(202).end('{}');
      else held.push(response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    // An api of its own: who lives is remembered for a while, and the one above knows of nobody.
    await ops.stop();
    ops = await startOperationsApi();
    await ops.api.rows.insert('conductors', {
      id: randomUUID(),
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      started_at: new Date(),
      heartbeat_at: new Date(Date.now() + 600_000),
    });
  });
  beforeEach(() => {
    heard.length = 0;
  });
  afterAll(() => {
    server?.close();
    server?.closeAllConnections();
  });

  it('is told of a new operation and its boards at once, and asked for its end', async () => {
    const board = await ops.board();
    const waiting = order('?wait=20s', {}, board);
    const id = await newestOf(board);
    await until('the question', () => held.length > 0);
    expect(heard.find((each) => each.waitMs !== undefined)).toMatchObject({
      operations: [id],
      boards: [board],
    });
    await succeed(id);
    const startedAt = performance.now();
    held.pop()?.writeHead(200).end('{"ended":true}');
    expect((await waiting).status).toBe(200);
    expect(performance.now() - startedAt).toBeLessThan(900);
  });

  it('is told of an operation that nobody waits for', async () => {
    const board = await ops.board();
    const { id } = (await order('', {}, board)).body;
    await until('the wake', () => heard.some((each) => each.operations?.includes(id)));
    expect(heard).toContainEqual({ operations: [id], boards: [board] });
  });

  it('is told of boards that are to stop', async () => {
    const board = await ops.board();
    const { id } = (await order('', {}, board)).body;
    await ops.targets(id, { state: 'running', attempt: 1 });
    await ops.post(`/v1/operations/${id}/cancel`);
    await until('the wake', () => heard.some((each) => each.boards?.includes(board)));
  });
});
