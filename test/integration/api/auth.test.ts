/** Signing in, staying in, and being thrown out. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, testPassword } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant();
});
afterAll(async () => api?.stop());

const login = (username: string, password: string, rest: object = {}, headers: Record<string, string> = {}) =>
  api.request('/v1/auth/login', { body: { username, password, ...rest }, headers });
const me = (token: string) => api.request('/v1/me', { token });

async function audited(actor: string): Promise<string[]> {
  const [rows] = await api.connection.query(
    'SELECT action, result FROM audit_events WHERE actor = ? ORDER BY id',
    [actor],
  );
  return (rows as { action: string; result: string }[]).map((row) => `${row.action} ${row.result}`);
}

describe('signing in', () => {
  it('gives a token that is stored as a hash only, and is audited', async () => {
    const user = await api.rows.user({ memberships: { [tenant]: 'user_iot' } });
    const answer = await login(user.username, testPassword);
    expect(answer.status).toBe(200);
    expect(answer.body.token).toMatch(/^bws_[a-z2-7]{32}$/);
    expect(answer.headers.get('set-cookie')).toBeNull();
    expect(Date.parse(answer.body.expiresAt) - Date.now()).toBeGreaterThan(11.9 * 3_600_000);
    expect((await me(answer.body.token)).body).toMatchObject({
      kind: 'user',
      name: user.username,
      tenants: [{ id: tenant, role: 'user_iot' }],
    });
    const [rows] = await api.connection.query('SELECT * FROM user_sessions');
    expect(JSON.stringify(rows)).not.toContain(answer.body.token);
    expect(await audited(user.username)).toEqual(['login ok']);
  });

  it('fails alike for a wrong password, an unknown and a disabled user, and each is audited', async () => {
    const user = await api.rows.user();
    const disabled = await api.rows.user();
    await api.connection.query('UPDATE users SET disabled = 1 WHERE id = ?', [disabled.id]);
    const answers = await Promise.all([
      login(user.username, 'not-the-password'),
      login('who-is-that', testPassword),
      login(disabled.username, testPassword),
    ]);
    const seen = answers.map(({ status, body: { requestId: _requestId, ...problem } }) => ({
      status,
      problem,
    }));
    expect(seen[0]).toMatchObject({ status: 401, problem: { code: 'invalid-credentials' } });
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
    expect(await audited('who-is-that')).toEqual(['login invalid-credentials']);
  });

  it('takes no other spelling that the database would take for the same name', async () => {
    const user = await api.rows.user({ username: 'admin-e' });
    for (const spelling of ['admin-é', 'admin-e\u0000', 'ａdmin-e', 'admin-e '])
      expect((await login(spelling, testPassword)).body.code, spelling).toBe('invalid-credentials');
    expect((await login('ADMIN-E', testPassword)).body.user.id).toBe(user.id);
  });
});

describe('a session', () => {
  it('ends by logout, and by its time', async () => {
    const user = await api.rows.user();
    expect((await api.request('/v1/auth/logout', { method: 'POST', token: user.token })).status).toBe(204);
    expect((await me(user.token)).body.code).toBe('unauthenticated');
    const expired = await api.rows.session(user.id, -1);
    expect((await me(expired)).body.code).toBe('unauthenticated');
  });

  it('ends when its user is disabled or deleted', async () => {
    const admin = await api.rows.user({ isAdmin: true });
    const [first, second] = [await api.rows.user(), await api.rows.user()];
    const path = `/v1/users/${first.username}`;
    expect(
      (await api.request(path, { method: 'PATCH', token: admin.token, body: { disabled: true } })).status,
    ).toBe(200);
    expect((await me(first.token)).status).toBe(401);
    await api.request(`/v1/users/${second.id}`, { method: 'DELETE', token: admin.token });
    expect((await me(second.token)).status).toBe(401);
  });

  it('alone survives a change of the own password, which needs the current one', async () => {
    const user = await api.rows.user();
    const other = await api.rows.session(user.id);
    const change = (currentPassword: string) =>
      api.request('/v1/me', {
        method: 'PATCH',
        token: user.token,
        body: { password: 'a-new-password', currentPassword },
      });
    expect((await change('wrong')).body.code).toBe('invalid-credentials');
    expect((await me(other)).status).toBe(200);
    expect((await change(testPassword)).status).toBe(200);
    expect((await me(user.token)).status).toBe(200);
    expect((await me(other)).status).toBe(401);
    expect((await login(user.username, 'a-new-password')).status).toBe(200);
    expect((await login(user.username, testPassword)).status).toBe(401);
  });

  it('does not survive a new password that an admin gave', async () => {
    const admin = await api.rows.user({ isAdmin: true });
    const user = await api.rows.user();
    const body = { password: 'given-by-the-admin' };
    await api.request(`/v1/users/${user.id}`, { method: 'PATCH', token: admin.token, body });
    expect((await me(user.token)).status).toBe(401);
  });
});

describe('a cookie session', () => {
  const page = { 'sec-fetch-site': 'same-origin' };

  async function cookieOf(username: string): Promise<string> {
    const answer = await login(username, testPassword, { cookie: true }, page);
    expect(answer.body.token).toBeUndefined();
    const cookie = answer.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(
      /^boardwalk_session=bws_\w+; Max-Age=43200; Path=\/; Expires=.*; HttpOnly; SameSite=Strict$/,
    );
    return cookie.split(';')[0] as string;
  }

  it('reads without more, and changes only for pages of the same origin', async () => {
    const user = await api.rows.user();
    const cookie = await cookieOf(user.username);
    expect((await api.request('/v1/me', { headers: { cookie } })).status).toBe(200);
    const change = (headers: Record<string, string>) =>
      api.request('/v1/me', { method: 'PATCH', body: { displayName: 'X' }, headers: { cookie, ...headers } });
    const refused: Record<string, string>[] = [
      {},
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
      { 'sec-fetch-site': 'cross-site', origin: api.url },
      { origin: 'https://evil.example' },
      { origin: 'null' },
    ];
    for (const headers of refused) {
      const answer = await change(headers);
      expect([answer.status, answer.body.code], JSON.stringify(headers)).toEqual([403, 'cross-site-request']);
    }
    expect((await change(page)).status).toBe(200);
    expect((await change({ origin: api.url })).status).toBe(200);
  });

  it('ends by logout, which clears the cookie', async () => {
    const user = await api.rows.user();
    const cookie = await cookieOf(user.username);
    const answer = await api.request('/v1/auth/logout', { method: 'POST', headers: { cookie, ...page } });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('set-cookie')).toMatch(/^boardwalk_session=; .*Expires=Thu, 01 Jan 1970/);
    expect((await api.request('/v1/me', { headers: { cookie } })).status).toBe(401);
  });

  it('is not opened for another site, and never holds an API key', async () => {
    const user = await api.rows.user();
    const cross = await login(
      user.username,
      testPassword,
      { cookie: true },
      { origin: 'https://evil.example' },
    );
    expect(cross.body.code).toBe('cross-site-request');
    const key = await api.rows.key(tenant);
    const answer = await api.request('/v1/me', { headers: { cookie: `boardwalk_session=${key.token}` } });
    expect(answer.status).toBe(401);
  });

  it('is Secure where the public address is https', async () => {
    const behindTls = await startTestApi({ publicUrl: 'https://boardwalk.example' });
    try {
      const user = await behindTls.rows.user();
      const answer = await behindTls.request('/v1/auth/login', {
        body: { username: user.username, password: testPassword, cookie: true },
      });
      expect(answer.headers.get('set-cookie')).toContain('; Secure');
      expect(answer.headers.get('strict-transport-security')).toMatch(/max-age/);
    } finally {
      await behindTls.stop();
    }
  });
});

describe('tokens', () => {
  it.each([
    'Bearer',
    'Bearer x',
    'Bearer bws_unknown',
    'Bearer bw_unknown',
    'Basic YWRtaW46YWRtaW4=',
    `Bearer ${'x'.repeat(5000)}`,
  ])('%.30s is refused with a challenge', async (authorization) => {
    const answer = await api.request('/v1/me', { headers: { authorization } });
    expect([400, 401]).toContain(answer.status);
    expect(answer.headers.get('content-type')).toMatch(/problem/);
    if (answer.status === 401) expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer/);
  });

  it('of an expired or revoked API key are refused', async () => {
    const expired = await api.rows.key(tenant, { expiresAt: new Date(Date.now() - 1) });
    const revoked = await api.rows.key(tenant, { revokedAt: new Date() });
    const good = await api.rows.key(tenant, { expiresAt: new Date(Date.now() + 60_000) });
    expect((await me(expired.token)).body.code).toBe('unauthenticated');
    expect((await me(revoked.token)).body.code).toBe('unauthenticated');
    expect((await me(good.token)).body).toMatchObject({ kind: 'key', id: good.id });
    expect((await me(good.token.slice(0, -1))).status).toBe(401);
  });
});

describe('wrong logins', () => {
  it('are refused after ten for one name, the right password too, while others sign in', async () => {
    const victim = await api.rows.user();
    const other = await api.rows.user();
    const wrong = await Promise.all(
      Array.from({ length: 10 }, () => login(victim.username, 'a-wrong-guess')),
    );
    expect(wrong.map((each) => each.status)).toEqual(Array(10).fill(401));
    for (const name of [victim.username, victim.username.toUpperCase()]) {
      const answer = await login(name, testPassword);
      expect([answer.status, answer.body.code]).toEqual([429, 'too-many-requests']);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect((await login(other.username, testPassword)).status).toBe(200);
  });

  it('for the current password count too: a session that was stolen is no way to guess it', async () => {
    const { token } = await api.rows.user();
    const change = (currentPassword: string) =>
      api.request('/v1/me', {
        method: 'PATCH',
        token,
        body: { password: 'a-new-password', currentPassword },
      });
    for (let index = 0; index < 10; index += 1) expect((await change('wrong-guess')).status).toBe(401);
    for (const guess of ['wrong-guess', testPassword]) {
      const answer = await change(guess);
      expect([answer.status, answer.body.code]).toEqual([429, 'too-many-requests']);
    }
    const other = await api.request('/v1/me', { method: 'PATCH', token, body: { displayName: 'Me' } });
    expect(other.status).toBe(200);
  });

  it('are counted by the address of the connection, not by one that the client claims', async () => {
    const victim = await api.rows.user();
    const guess = (index: number) =>
      login(victim.username, 'a-wrong-guess', {}, { 'x-forwarded-for': `203.0.113.${index}` });
    for (let index = 0; index < 10; index += 1) expect((await guess(index)).status).toBe(401);
    expect((await guess(10)).status).toBe(429);
  });

  it('of the right kind are not counted', async () => {
    const user = await api.rows.user();
    for (let index = 0; index < 12; index += 1)
      expect((await login(user.username, testPassword)).status).toBe(200);
  });
});
