/** Revoking and deleting end the board's session at its router at once, when a relay takes the word. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';
import { until } from '../../harness/until.ts';

let api: TestApi;
let relay: Server;
let tenant: string;
let token: string;
const told: unknown[] = [];

beforeAll(async () => {
  api = await startTestApi();
  relay = createServer((request, response) => {
    void json(request).then((body) => {
      told.push({ path: request.url, authorization: request.headers.authorization, body });
      response.end('{}');
    });
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  tenant = await api.rows.tenant();
  token = (await api.rows.key(tenant)).token;
  await liveAgent('default', `http://127.0.0.1:${(relay.address() as AddressInfo).port}`);
  // A cell of its own, so that no other test asks the one that does not answer.
  await liveAgent('mute', 'http://127.0.0.1:1');
});
afterAll(async () => {
  relay?.close();
  relay?.closeAllConnections();
  await api?.stop();
});

async function liveAgent(cell: string, relayUrl: string): Promise<void> {
  await api.connection.query(
    `INSERT INTO wamp_agents (id, cell, relay_url, router_connected, started_at, heartbeat_at)
     VALUES (?, ?, ?, 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 HOUR)`,
    [randomUUID(), cell, relayUrl],
  );
}

async function onlineBoard(cell = 'default'): Promise<string> {
  const uuid = await api.rows.board(tenant, { status: 'online' });
  await api.rows.insert('board_sessions', {
    id: randomUUID(),
    board_uuid: uuid,
    live: 1,
    cell,
    agent_id: randomUUID(),
    wamp_session: 1,
    boot_id: 'b',
    agent_version: '1',
    started_at: new Date(),
  });
  return uuid;
}

describe('a board that is online', () => {
  it.each([
    ['revoked', 'POST', '/revoke'],
    ['deleted', 'DELETE', ''],
  ])('is disconnected when it is %s', async (reason, method, path) => {
    const uuid = await onlineBoard();
    await api.request(`/v1/boards/${uuid}${path}`, { method, token });
    const word = {
      path: '/relay/disconnect',
      authorization: 'Bearer relay-key',
      body: { boardUuid: uuid, reason },
    };
    await until('the relay is told', () => told.find((each) => JSON.stringify(each).includes(uuid)));
    expect(told).toContainEqual(word);
  });

  it('is revoked all the same when no relay answers', async () => {
    const uuid = await onlineBoard('mute');
    const answer = await api.request(`/v1/boards/${uuid}/revoke`, { method: 'POST', token });
    expect(answer.body.status).toBe('revoked');
    await until('it is noted', () =>
      api.log.some((line) => line.includes('not disconnected at once') && line.includes(uuid)),
    );
  });
});
