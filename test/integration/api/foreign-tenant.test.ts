/** Another tenant's things do not exist: the same answer as for what was never there, in every position. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type RequestOptions, startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let foreign: { tenant: string; tenantName: string; board: string; boardName: string; key: string };
let own: { tenant: string; board: string; user: string };
const tokens: Record<string, string> = {};

beforeAll(async () => {
  api = await startTestApi();
  const tenant = await api.rows.tenant('theirs');
  const board = await api.rows.board(
    tenant,
    { name: 'their-board', latitude: 1, longitude: 2 },
    { site: 'lyon' },
  );
  const key = (await api.rows.key(tenant)).id;
  const made = { created_at: new Date(), updated_at: new Date() };
  await api.rows.insert('modules', {
    board_uuid: board,
    tenant_id: tenant,
    name: 'n1',
    origin: 'discovered',
    state: 'quarantined',
    ...made,
  });
  foreign = { tenant, tenantName: 'theirs', board, boardName: 'their-board', key };
  const mine = await api.rows.tenant('mine');
  const user = await api.rows.user({ memberships: { [mine]: 'admin_iot_project' } });
  own = { tenant: mine, board: await api.rows.board(mine, { name: 'my-board' }), user: user.username };
  tokens.user = user.token;
  tokens.key = (await api.rows.key(mine)).token;
});
afterAll(async () => api?.stop());

interface Position {
  what: string;
  path(id: string): string;
  options?: RequestOptions | ((id: string) => RequestOptions);
}

const get = (path: (id: string) => string): Position => ({ what: `GET ${path('{}')}`, path });
const send = (method: string, path: (id: string) => string, body?: (id: string) => unknown): Position => ({
  what: `${method} ${path('{}')}${body ? ` ${JSON.stringify(body('{}'))}` : ''}`,
  path,
  options: (id) => ({ method, ...(body && { body: body(id) }) }),
});

const boardPositions: Position[] = [
  get((id) => `/v1/boards/${id}`),
  get((id) => `/v1/boards/${id}/sessions`),
  get((id) => `/v1/boards/${id}/procedures`),
  get((id) => `/v1/boards/${id}/streams`),
  get((id) => `/v1/boards/${id}/readings?stream=system/load`),
  get((id) => `/v1/boards/${id}/completeness`),
  get((id) => `/v1/boards/${id}/modules`),
  get((id) => `/v1/boards/${id}/modules/n1`),
  get((id) => `/v1/boards/${id}/sources`),
  send(
    'POST',
    (id) => `/v1/boards/${id}/modules`,
    () => ({ name: 'planted' }),
  ),
  send(
    'PATCH',
    (id) => `/v1/boards/${id}/modules/n1`,
    () => ({ state: 'accepted' }),
  ),
  send('DELETE', (id) => `/v1/boards/${id}/modules/n1`),
  send('DELETE', (id) => `/v1/boards/${id}/modules?state=quarantined`),
  get((id) => `/v1/events?board=${id}`),
  send(
    'PATCH',
    (id) => `/v1/boards/${id}`,
    () => ({ type: 'x' }),
  ),
  send('DELETE', (id) => `/v1/boards/${id}`),
  send('POST', (id) => `/v1/boards/${id}/enrolment-code`),
  send('POST', (id) => `/v1/boards/${id}/revoke`),
  send('POST', (id) => `/v1/boards/${id}/reinstate`),
  send(
    'POST',
    (id) => `/v1/boards/${id}/rpc/ping`,
    () => ({}),
  ),
];

const tenantPositions: Position[] = [
  get((id) => `/v1/tenants/${id}`),
  get((id) => `/v1/tenants/${id}/audit-events`),
  get((id) => `/v1/boards?tenant=${id}`),
  get((id) => `/v1/boards/counts?tenant=${id}`),
  get((id) => `/v1/boards/positions?tenant=${id}`),
  get((id) => `/v1/events?tenant=${id}`),
  get((id) => `/v1/fleets?tenant=${id}`),
  get((id) => `/v1/schedules?tenant=${id}`),
  get((id) => `/v1/tenants/${id}/quotas`),
  get((id) => `/v1/tenants/${id}/webhooks`),
  get((id) => `/v1/tenants/${id}/modules`),
  send(
    'POST',
    (id) => `/v1/tenants/${id}/webhooks`,
    () => ({ name: 'listening', url: 'https://1.1.1.1/', types: ['operation'] }),
  ),
  send(
    'POST',
    () => '/v1/fleets',
    (id) => ({ name: 'planted', tenant: id }),
  ),
  send(
    'POST',
    () => '/v1/schedules',
    (id) => ({
      name: 'planted',
      tenant: id,
      timing: { everySeconds: 60 },
      operation: { procedure: 'ping', target: { selector: '!none' } },
    }),
  ),
  send(
    'PATCH',
    (id) => `/v1/tenants/${id}`,
    () => ({ name: 'taken-over' }),
  ),
  send(
    'POST',
    () => '/v1/boards',
    (id) => ({ name: 'planted', tenant: id }),
  ),
];

/** For users only: keys may not do these at all. */
const userPositions: Position[] = [
  get((id) => `/v1/tenants/${id}/members`),
  get((id) => `/v1/tenants/${id}/api-keys`),
  send(
    'PUT',
    (id) => `/v1/tenants/${id}/members/somebody`,
    () => ({ role: 'user_iot' }),
  ),
  send('DELETE', (id) => `/v1/tenants/${id}/members/somebody`),
  send(
    'POST',
    (id) => `/v1/tenants/${id}/api-keys`,
    () => ({ name: 'k', role: 'user_iot' }),
  ),
];

async function ask(position: Position, id: string, token: string | undefined): Promise<Answer> {
  const options = typeof position.options === 'function' ? position.options(id) : (position.options ?? {});
  return api.request(position.path(id), { ...options, ...(token !== undefined && { token }) });
}

/** The parts of an answer that a client can tell apart. */
function visible({ status, body }: Answer): unknown {
  const { requestId: _requestId, ...problem } = body as Record<string, unknown>;
  return { status, problem };
}

async function expectMissing(position: Position, existing: string, token: string | undefined): Promise<void> {
  const before = await api.checksums();
  const theirs = await ask(position, existing, token);
  expect(theirs.status, theirs.text).toBe(404);
  const missing = await ask(position, randomUUID(), token);
  expect(visible(theirs)).toEqual(visible(missing));
  expect(await api.checksums()).toEqual(before);
}

describe.each(['user', 'key'])("another tenant's ids, to a %s who may do everything at home", (caller) => {
  it.each(boardPositions)('$what: their board is missing, by uuid and by name', async (position) => {
    await expectMissing(position, foreign.board, tokens[caller]);
    await expectMissing(position, foreign.boardName, tokens[caller]);
  });

  it.each(tenantPositions)('$what: their tenant is missing, by id and by name', async (position) => {
    await expectMissing(position, foreign.tenant, tokens[caller]);
    await expectMissing(position, foreign.tenantName, tokens[caller]);
  });
});

describe("another tenant's ids, to a user", () => {
  it.each(userPositions)('$what: their tenant is missing', async (position) => {
    await expectMissing(position, foreign.tenant, tokens.user);
  });

  it('a key of theirs is missing, below their tenant and below the own one', async () => {
    for (const method of ['GET', 'DELETE']) {
      const position = send(method, (id) => `/v1/tenants/${own.tenant}/api-keys/${id}`);
      await expectMissing(position, foreign.key, tokens.user);
      const below = send(method, (id) => `/v1/tenants/${foreign.tenant}/api-keys/${id}`);
      await expectMissing(below, foreign.key, tokens.user);
    }
  });

  it('a board of theirs cannot be put into the scope of an own key', async () => {
    const position = send(
      'POST',
      () => `/v1/tenants/${own.tenant}/api-keys`,
      (id) => ({ name: 'k', role: 'user_iot', boards: [own.board, id] }),
    );
    await expectMissing(position, foreign.board, tokens.user);
    await expectMissing(position, foreign.boardName, tokens.user);
  });
});

describe('lists', () => {
  it.each(['user', 'key'])('show a %s nothing of others', async (caller) => {
    const token = tokens[caller] as string;
    const list = await api.request('/v1/boards', { token });
    expect(list.body.items.map((each: { name: string }) => each.name)).toEqual(['my-board']);
    const counts = await api.request('/v1/boards/counts', { token });
    expect(counts.body.total).toBe(1);
    const positions = await api.request('/v1/boards/positions', { token });
    expect(positions.body.items).toEqual([]);
    const tenants = await api.request('/v1/tenants', { token });
    expect(tenants.body.items.map((each: { name: string }) => each.name)).toEqual(['mine']);
  });
});
