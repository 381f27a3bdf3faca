/** Users, tenants, members, keys, and the trail they leave. */
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, testPassword } from '../../harness/api.ts';

let api: TestApi;
let admin: { id: string; username: string; token: string };
beforeAll(async () => {
  api = await startTestApi();
  admin = await api.rows.user({ username: 'installation-admin', isAdmin: true });
});
afterAll(async () => api?.stop());

const send = (method: string, path: string, body?: unknown, token = admin.token) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });

describe('a tenant', () => {
  it('is created with a slug of its name, found by id, name and slug, and changed by version', async () => {
    const created = await send('POST', '/v1/tenants', { name: 'Città di Lyon' });
    expect(created.status).toBe(201);
    const { id } = created.body;
    expect(created.body).toMatchObject({ name: 'Città di Lyon', slug: 'citta-di-lyon', version: 1 });
    for (const reference of [id, 'citta-di-lyon', encodeURIComponent('Città di Lyon')])
      expect((await send('GET', `/v1/tenants/${reference}`)).body.id).toBe(id);
    const changed = await send('PATCH', `/v1/tenants/${id}`, { name: 'Lyon', version: 1 });
    expect(changed.body).toMatchObject({ name: 'Lyon', slug: 'citta-di-lyon', version: 2 });
    expect((await send('PATCH', `/v1/tenants/${id}`, { name: 'Paris', version: 1 })).status).toBe(412);
    expect(changed.body.readingRetentionDays).toBeNull();
    const kept = await send('PATCH', `/v1/tenants/${id}`, { readingRetentionDays: 30 });
    expect(kept.body.readingRetentionDays).toBe(30);
    for (const readingRetentionDays of [0, 1.5, '30', 36_501])
      expect((await send('PATCH', `/v1/tenants/${id}`, { readingRetentionDays })).status).toBe(400);
  });

  it('whose name makes a slug that is taken, or none, gets another', async () => {
    await send('POST', '/v1/tenants', { name: 'Twin' });
    const twin = await send('POST', '/v1/tenants', { name: 'Twin!' });
    expect(twin.body.slug).toMatch(/^twin-[a-z2-7]{5}$/);
    const kanji = await send('POST', '/v1/tenants', { name: '東京' });
    expect(kanji.body.slug).toMatch(/^tenant-[a-z2-7]{8}$/);
  });

  it('is deleted only without boards, and takes its members and keys along', async () => {
    const id = await api.rows.tenant();
    const member = await api.rows.user({ memberships: { [id]: 'user_iot' } });
    const key = await api.rows.key(id);
    const board = await api.rows.board(id);
    const refused = await send('DELETE', `/v1/tenants/${id}`);
    expect([refused.status, refused.body.code]).toEqual([409, 'conflict']);
    expect((await send('DELETE', `/v1/boards/${board}`)).status).toBe(204);
    expect((await send('DELETE', `/v1/tenants/${id}`)).status).toBe(204);
    expect((await send('GET', '/v1/me', undefined, member.token)).body.tenants).toEqual([]);
    expect((await send('GET', '/v1/me', undefined, key.token)).status).toBe(401);
  });
});

describe('members', () => {
  it('get, change and lose roles, by user name or id, at once', async () => {
    const tenant = await api.rows.tenant('with-members');
    const user = await api.rows.user();
    const path = `/v1/tenants/with-members/members/${user.username}`;
    const see = () => send('GET', `/v1/tenants/${tenant}`, undefined, user.token);
    expect((await see()).status).toBe(403);
    expect((await send('PUT', path, { role: 'user_iot' })).body).toMatchObject({
      user: user.id,
      username: user.username,
      role: 'user_iot',
    });
    expect((await see()).status).toBe(200);
    expect((await send('PUT', path, { role: 'manager_iot_project' })).body.role).toBe('manager_iot_project');
    const list = await send('GET', `/v1/tenants/${tenant}/members`);
    expect(list.body.items).toHaveLength(1);
    expect((await send('DELETE', `/v1/tenants/${tenant}/members/${user.id}`)).status).toBe(204);
    expect((await see()).status).toBe(403);
    expect((await send('DELETE', path)).status).toBe(404);
    expect((await send('PUT', path.replace(user.username, 'nobody'), { role: 'user_iot' })).status).toBe(404);
    expect((await send('PUT', path, { role: 'admin' })).status).toBe(400);
  });
});

describe('users', () => {
  it('are created, listed page by page, changed and deleted', async () => {
    for (const name of ['zoe-1', 'zoe-2', 'zoe-3'])
      expect((await send('POST', '/v1/users', { username: name, password: testPassword })).status).toBe(201);
    const seen: string[] = [];
    let next = '';
    do {
      const page = await send('GET', `/v1/users?limit=2${next === '' ? '' : `&after=${next}`}`);
      seen.push(...page.body.items.map((each: { username: string }) => each.username));
      next = page.body.next ?? '';
    } while (next !== '');
    expect(seen.filter((name) => name.startsWith('zoe'))).toEqual(['zoe-1', 'zoe-2', 'zoe-3']);
    expect(new Set(seen).size).toBe(seen.length);
    const changed = await send('PATCH', '/v1/users/zoe-1', { displayName: 'Zoé', version: 1 });
    expect(changed.body).toMatchObject({ displayName: 'Zoé', version: 2 });
    expect(JSON.stringify(changed.body)).not.toMatch(/password|hash|scrypt/i);
    expect((await send('DELETE', '/v1/users/zoe-1')).status).toBe(204);
    expect((await send('GET', '/v1/users/zoe-1')).status).toBe(404);
  });

  it('always keep one admin who can sign in', async () => {
    const path = `/v1/users/${admin.id}`;
    for (const body of [{ isAdmin: false }, { disabled: true }])
      expect((await send('PATCH', path, body)).body.code).toBe('conflict');
    expect((await send('DELETE', path)).body.code).toBe('conflict');
    const second = await api.rows.user({ isAdmin: true });
    expect((await send('DELETE', `/v1/users/${second.id}`)).status).toBe(204);
  });

  it.each(['short', 'x'.repeat(201)])('do not get the password %.10s', async (password) => {
    expect((await send('POST', '/v1/users', { username: 'weak', password })).status).toBe(400);
  });
});

describe('API keys', () => {
  it('are shown once, act with their role, and are worth nothing after their end', async () => {
    const tenant = await api.rows.tenant('with-keys');
    const board = await api.rows.board(tenant, { name: 'scoped-board' });
    const created = await send('POST', '/v1/tenants/with-keys/api-keys', {
      name: 'service',
      role: 'manager_iot_project',
      boards: ['scoped-board', board],
      procedures: ['gpio.*', 'ping'],
      expiresAt: new Date(Date.now() + 60_000).toISOString(),
    });
    expect(created.status).toBe(201);
    const { key, id } = created.body;
    expect(key).toMatch(new RegExp(`^bw_${id.replaceAll('-', '')}_[a-z2-7]{32}$`));
    expect(created.body).toMatchObject({ boards: [board], procedures: ['gpio.*', 'ping'], revokedAt: null });
    expect((await send('GET', `/v1/boards/${board}`, undefined, key)).status).toBe(200);
    const read = await send('GET', '/v1/tenants/with-keys/api-keys/service');
    expect(read.body.key).toBeUndefined();
    expect(JSON.stringify((await send('GET', '/v1/tenants/with-keys/api-keys')).body)).not.toContain(key);
    expect(
      (await send('POST', '/v1/tenants/with-keys/api-keys', { name: 'Service', role: 'user_iot' })).body.code,
    ).toBe('name-taken');
    expect((await send('DELETE', '/v1/tenants/with-keys/api-keys/service')).status).toBe(204);
    expect((await send('GET', `/v1/boards/${board}`, undefined, key)).status).toBe(401);
    expect((await send('GET', `/v1/tenants/with-keys/api-keys/${id}`)).body.revokedAt).toEqual(
      expect.any(String),
    );
    const again = await send('POST', '/v1/tenants/with-keys/api-keys', { name: 'service', role: 'user_iot' });
    expect(again.status).toBe(201);
  });

  it.each(['2020-01-01T00:00:00Z', '2026-13-01T00:00:00Z', 'tomorrow', '99999-01-01T00:00:00Z'])(
    'do not expire at %s',
    async (expiresAt) => {
      await api.rows.tenant('expiring').catch(() => undefined);
      const body = { name: 'k', role: 'user_iot', expiresAt };
      expect((await send('POST', '/v1/tenants/expiring/api-keys', body)).body.code).toBe('invalid-request');
    },
  );

  it('call only the procedures of their scope', async () => {
    const tenant = await api.rows.tenant();
    const board = await api.rows.board(tenant);
    const key = await api.rows.key(tenant, { procedures: ['gpio.*'] });
    const call = (procedure: string) => send('POST', `/v1/boards/${board}/rpc/${procedure}`, {}, key.token);
    expect((await call('ping')).body.code).toBe('forbidden');
    expect((await call('gpio.write')).body.code).toBe('board-offline');
  });
});

describe('the audit trail', () => {
  it('has who did what to which from where, for changes and refusals; each tenant sees its own', async () => {
    const tenant = await api.rows.tenant('audited');
    const owner = await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } });
    const reader = await api.rows.user({ memberships: { [tenant]: 'user_iot' } });
    const board = await send('POST', '/v1/boards', { name: 'traced' }, owner.token);
    await send('DELETE', '/v1/boards/traced', undefined, reader.token);
    await send('DELETE', '/v1/boards/traced', undefined, owner.token);
    const trail = await send('GET', '/v1/tenants/audited/audit-events', undefined, owner.token);
    expect(trail.body.items).toMatchObject([
      { action: 'deleteBoard', actor: owner.username, target: board.body.uuid, result: 'ok' },
      {
        action: 'createBoard',
        actor: owner.username,
        remoteAddress: '127.0.0.1',
        detail: { name: 'traced' },
      },
    ]);
    const all = await send('GET', '/v1/audit-events?limit=2');
    expect(all.body.items[1]).toMatchObject({
      action: 'deleteBoard',
      actorKind: 'user',
      actor: reader.username,
      result: 'forbidden',
    });
    const next = await send('GET', `/v1/audit-events?limit=2&after=${all.body.next}`);
    expect(next.body.items[0].action).toBe('createBoard');
  });

  it('never holds a password or key', async () => {
    const [rows] = await api.connection.query<RowDataPacket[]>('SELECT * FROM audit_events');
    expect(JSON.stringify(rows)).not.toMatch(/bws?_[a-z0-9]{30}|a-password-of-tests|scrypt/);
    expect(api.log.join('\n')).not.toMatch(/bws?_[a-z0-9]{30}|a-password-of-tests|scrypt/);
  });
});
