/** Sets of boards: by selector and by name, as a filter, and while schedules need them. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let other: string;
let manager: string;
const boards: Record<string, string> = {};

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant('lyon');
  other = await api.rows.tenant('paris');
  manager = (await api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } })).token;
  for (const [name, site] of [
    ['gw-1', 'a'],
    ['gw-2', 'a'],
    ['gw-3', 'b'],
  ] as const)
    boards[name] = await api.rows.board(tenant, { name }, { site });
  await api.rows.board(other, { name: 'gw-1' }, { site: 'a' });
});
afterAll(async () => api?.stop());

const call = (method: string, path: string, body?: unknown, token = manager) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });
const namesOf = async (query: string, token = manager) => {
  const { body } = await call('GET', `/v1/boards?${query}`, undefined, token);
  return body.items.map((each: { name: string }) => each.name);
};

describe('a fleet', () => {
  it('of a selector is whatever it matches at the time, in its tenant', async () => {
    const made = await call('POST', '/v1/fleets', { name: 'site-a', selector: 'site=a', description: 'A' });
    expect(made.status, made.text).toBe(201);
    expect(made.body).toMatchObject({
      name: 'site-a',
      tenant,
      selector: 'site=a',
      boardCount: 2,
      version: 1,
    });
    expect(made.headers.get('location')).toBe(`/v1/fleets/${made.body.id}`);
    expect(await namesOf('fleet=site-a')).toEqual(['gw-1', 'gw-2']);
    expect((await call('PATCH', '/v1/boards/gw-3', { labels: { site: 'a' } })).status).toBe(200);
    expect((await call('GET', '/v1/fleets/site-a')).body.boardCount).toBe(3);
    expect((await call('GET', `/v1/boards/counts?fleet=${made.body.id}`)).body.total).toBe(3);
    expect(await namesOf('fleet=site-a&namePrefix=gw-3')).toEqual(['gw-3']);
    expect((await call('GET', '/v1/boards/positions?fleet=site-a')).status).toBe(200);
  });

  it('of named boards takes boards in and out, once each', async () => {
    const made = await call('POST', '/v1/fleets', { name: 'hand-picked', boards: ['gw-1', boards['gw-2']] });
    expect(made.body).toMatchObject({ selector: null, boardCount: 2 });
    const path = '/v1/fleets/hand-picked';
    for (let times = 0; times < 2; times += 1)
      expect((await call('PUT', `${path}/boards/gw-3`)).status).toBe(204);
    expect((await call('GET', path)).body).toMatchObject({ boardCount: 3, version: 2 });
    for (let times = 0; times < 2; times += 1)
      expect((await call('DELETE', `${path}/boards/gw-1`)).status).toBe(204);
    expect(await namesOf('fleet=hand-picked')).toEqual(['gw-2', 'gw-3']);
    expect((await call('PUT', `${path}/boards/gw-9`)).body.code).toBe('board-not-found');
    expect((await call('PUT', `${path}/boards/${randomUUID()}`)).status).toBe(404);
  });

  it('changes by version, and is of a selector or of names', async () => {
    const made = await call('POST', '/v1/fleets', { name: 'changing' });
    expect(made.body).toMatchObject({ selector: null, boardCount: 0 });
    const path = `/v1/fleets/${made.body.id}`;
    const named = await call('PATCH', path, { boards: ['gw-1'], version: 1 });
    expect(named.body).toMatchObject({ boardCount: 1, selector: null, version: 2 });
    expect((await call('PATCH', path, { name: 'late', version: 1 })).status).toBe(412);
    expect((await call('PATCH', path, { selector: '!none', name: 'changed' })).body).toMatchObject({
      boardCount: 3,
      selector: '!none',
      name: 'changed',
    });
    expect((await call('PUT', `${path}/boards/gw-1`)).body.code).toBe('conflict');
    expect((await call('PATCH', path, { boards: [] })).body).toMatchObject({ boardCount: 0, selector: null });
    expect((await call('DELETE', path)).status).toBe(204);
    expect((await call('GET', path)).status).toBe(404);
  });

  it('is refused with its fault named', async () => {
    const both = await call('POST', '/v1/fleets', { name: 'x', selector: 'a', boards: ['gw-1'] });
    expect([both.status, both.body.errors[0].pointer]).toEqual([400, '/boards']);
    const bad = await call('POST', '/v1/fleets', { name: 'x', selector: 'a=(' });
    expect([bad.status, bad.body.errors[0]]).toEqual([
      400,
      { pointer: '/selector', position: 3, detail: 'position 3: expected a value' },
    ]);
    const missing = await call('POST', '/v1/fleets', { name: 'x', boards: ['gw-1', 'nobody'] });
    expect([missing.status, missing.body.errors[0].pointer]).toEqual([404, '/boards/1']);
    const taken = await call('POST', '/v1/fleets', { name: 'site-a' });
    expect([taken.status, taken.body.code]).toEqual([409, 'name-taken']);
  });

  it('is listed by name, page by page', async () => {
    const seen: string[] = [];
    let next = '';
    do {
      const page = await call('GET', `/v1/fleets?limit=1${next && `&after=${next}`}`);
      seen.push(...page.body.items.map((each: { name: string }) => each.name));
      next = page.body.next ?? '';
    } while (next !== '');
    expect(seen).toEqual(['hand-picked', 'site-a']);
  });

  it('loses the boards that are deleted', async () => {
    const uuid = await api.rows.board(tenant, { name: 'gone' });
    await call('PUT', '/v1/fleets/hand-picked/boards/gone');
    await api.connection.query('DELETE FROM boards WHERE uuid = ?', [uuid]);
    expect((await call('GET', '/v1/fleets/hand-picked')).body.boardCount).toBe(2);
  });

  it('stays while a schedule goes to it', async () => {
    const { body } = await call('POST', '/v1/fleets', { name: 'needed' });
    const schedule = randomUUID();
    const now = new Date();
    await api.rows.insert('schedules', {
      id: schedule,
      tenant_id: tenant,
      name: 'nightly',
      state: 'paused',
      timing: '{}',
      overlap: 'skip',
      catch_up: 'none',
      operation: JSON.stringify({ target: { fleet: body.id } }),
      created_by: 'test',
      created_at: now,
      updated_at: now,
    });
    const refused = await call('DELETE', '/v1/fleets/needed');
    expect([refused.status, refused.body.code]).toEqual([409, 'conflict']);
    expect(refused.body.detail).toContain('nightly');
    await api.connection.query("UPDATE schedules SET state = 'ended' WHERE id = ?", [schedule]);
    expect((await call('DELETE', '/v1/fleets/needed')).status).toBe(204);
  });
});

describe("another tenant's fleet", () => {
  it('is missing everywhere, also as a filter', async () => {
    const admin = (await api.rows.user({ isAdmin: true })).token;
    const { body } = await call('POST', '/v1/fleets', { name: 'theirs', tenant: other }, admin);
    for (const reference of [body.id, 'theirs'])
      for (const [method, path] of [
        ['GET', `/v1/fleets/${reference}`],
        ['DELETE', `/v1/fleets/${reference}`],
        ['PUT', `/v1/fleets/${reference}/boards/gw-1`],
        ['GET', `/v1/boards?fleet=${reference}`],
        ['GET', `/v1/boards/counts?fleet=${reference}`],
        ['GET', `/v1/boards/positions?fleet=${reference}`],
      ] as const) {
        const answer = await call(method, path);
        expect([answer.status, answer.body.code], path).toEqual([404, 'not-found']);
      }
    expect((await call('PUT', `/v1/fleets/hand-picked/boards/${randomUUID()}`)).status).toBe(404);
    expect((await call('POST', '/v1/fleets', { name: 'x', tenant: other })).body.code).toBe(
      'tenant-not-found',
    );
  });

  it('of the same name needs the tenant, for who has both', async () => {
    const both = (await api.rows.user({ memberships: { [tenant]: 'user_iot', [other]: 'user_iot' } })).token;
    const admin = (await api.rows.user({ isAdmin: true })).token;
    await call('POST', '/v1/fleets', { name: 'site-a', tenant: other, selector: 'site=a' }, admin);
    expect((await call('GET', '/v1/fleets/site-a', undefined, both)).body.code).toBe('conflict');
    expect((await call('GET', '/v1/fleets/site-a?tenant=paris', undefined, both)).body.boardCount).toBe(1);
    expect(await namesOf('fleet=site-a&tenant=paris', both)).toEqual(['gw-1']);
    expect((await call('DELETE', '/v1/fleets/site-a?tenant=paris', undefined, both)).status).toBe(403);
  });
});
