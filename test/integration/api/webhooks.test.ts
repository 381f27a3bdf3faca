/** Webhooks over HTTP: where they may lead, a secret that is shown once, and their log. */
import { randomUUID } from 'node:crypto';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSecret } from '../../../common/webhooks/secrets.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let owner: string;
let base: string;

beforeAll(async () => {
  api = await startTestApi({ webhooks: { key: 'a-key', allowPrivate: false } });
  tenant = await api.rows.tenant('lyon');
  owner = (await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } })).token;
  base = `/v1/tenants/${tenant}/webhooks`;
});
afterAll(async () => api?.stop());

const call = (method: string, path: string, body?: unknown, token = owner) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });
let count = 0;
const create = (fields: object = {}) => {
  count += 1;
  return call('POST', base, {
    name: `hook-${count}`,
    url: 'https://1.1.1.1/hook',
    types: ['operation'],
    ...fields,
  });
};
const storedSecret = async (id: string) => {
  const [rows] = await api.connection.query<RowDataPacket[]>('SELECT secret FROM webhooks WHERE id = ?', [
    id,
  ]);
  return rows[0]?.secret as Buffer;
};

describe('a webhook', () => {
  it('shows its secret once and keeps it encrypted', async () => {
    const made = await create({ types: ['operation', 'presence'] });
    expect(made.status, made.text).toBe(201);
    const { secret, ...webhook } = made.body;
    expect(secret).toMatch(/^whsec_[a-z2-7]{32}$/);
    expect(webhook).toMatchObject({
      tenant,
      state: 'active',
      types: ['operation', 'presence'],
      disabledReason: null,
      failingSince: null,
      version: 1,
    });
    expect((await call('GET', `${base}/${webhook.id}`)).body).toEqual(webhook);
    expect((await call('GET', `${base}/${webhook.name}`)).body).toEqual(webhook);
    expect((await call('GET', base)).body.items).toEqual([webhook]);
    const sealed = await storedSecret(webhook.id);
    expect(sealed.toString('latin1')).not.toContain(secret);
    expect(openSecret('a-key', webhook.id, sealed)).toBe(secret);
    const renewed = await call('POST', `${base}/${webhook.id}/secret`);
    expect(renewed.body).toMatchObject({ id: webhook.id, version: 2 });
    expect(renewed.body.secret).not.toBe(secret);
    expect(openSecret('a-key', webhook.id, await storedSecret(webhook.id))).toBe(renewed.body.secret);
    expect(api.log.join()).not.toContain(secret);
    const [audit] = await api.connection.query<RowDataPacket[]>(
      "SELECT detail FROM audit_events WHERE target_kind = 'webhook'",
    );
    expect(JSON.stringify(audit)).not.toContain('whsec_');
  });

  it.each([
    'http://127.0.0.1:8812/',
    'http://localhost/',
    'http://169.254.169.254/latest/meta-data',
    'http://10.0.0.1/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'ftp://1.1.1.1/',
    'https://user:secret@1.1.1.1/',
    'https://no-such-host.invalid/',
  ])('may not lead to %s, when it is made and when it is changed', async (url) => {
    const refused = await create({ url });
    expect([refused.status, refused.body.code, refused.body.errors[0].pointer], refused.text).toEqual([
      400,
      'invalid-request',
      '/url',
    ]);
    const { id } = (await create()).body;
    expect((await call('PATCH', `${base}/${id}`, { url })).status).toBe(400);
  });

  it('changes by version, is disabled and enabled by hand, and is deleted with its log', async () => {
    const { id } = (await create()).body;
    const path = `${base}/${id}`;
    const changed = await call('PATCH', path, { types: ['presence'], url: 'https://8.8.8.8/', version: 1 });
    expect(changed.body).toMatchObject({ types: ['presence'], url: 'https://8.8.8.8/', version: 2 });
    expect((await call('PATCH', path, { name: 'x', version: 1 })).status).toBe(412);
    const disabled = await call('PATCH', path, { state: 'disabled' });
    expect(disabled.body).toMatchObject({ state: 'disabled', disabledReason: 'disabled by hand' });
    expect((await call('POST', `${path}/test`)).body.code).toBe('conflict');
    await api.connection.query('UPDATE webhooks SET failing_since = UTC_TIMESTAMP(3) WHERE id = ?', [id]);
    const enabled = await call('PATCH', path, { state: 'active' });
    expect(enabled.body).toMatchObject({ state: 'active', disabledReason: null, failingSince: null });
    expect((await call('POST', `${path}/test`)).status).toBe(202);
    expect((await call('DELETE', path)).status).toBe(204);
    expect((await call('GET', path)).status).toBe(404);
    const [left] = await api.connection.query('SELECT 1 FROM webhook_deliveries WHERE webhook_id = ?', [id]);
    expect(left).toEqual([]);
  });

  it('has a log of what was posted, by state and page by page, and sends again what was given up', async () => {
    const { id, name } = (await create()).body;
    const path = `${base}/${id}`;
    const sent = [];
    for (let index = 0; index < 3; index += 1) sent.push((await call('POST', `${path}/test`)).body);
    expect(sent[0]).toMatchObject({
      type: 'test',
      state: 'pending',
      attempts: 0,
      status: null,
      payload: { type: 'test', tenant, data: { webhook: id, name } },
    });
    const first = await call('GET', `${path}/deliveries?limit=2`);
    expect(first.body.items.map((each: { id: string }) => each.id)).toEqual([sent[2].id, sent[1].id]);
    const second = await call('GET', `${path}/deliveries?limit=2&after=${first.body.next}`);
    expect(second.body.items.map((each: { id: string }) => each.id)).toEqual([sent[0].id]);
    expect(second.body.next).toBeUndefined();
    const again = `${path}/deliveries/${sent[0].id}/redeliver`;
    expect((await call('POST', again)).body.code).toBe('conflict');
    await api.connection.query(
      "UPDATE webhook_deliveries SET state = 'failed', attempts = 9, next_at = NULL, error = 'x' WHERE id = ?",
      [sent[0].id],
    );
    const failed = await call('GET', `${path}/deliveries?state=failed`);
    expect(failed.body.items).toMatchObject([{ id: sent[0].id, attempts: 9, error: 'x', nextAt: null }]);
    const redelivered = await call('POST', again);
    expect(redelivered.body).toMatchObject({ state: 'pending', attempts: 0 });
    expect(redelivered.body.nextAt).toBeTruthy();
    expect((await call('POST', `${path}/deliveries/999999/redeliver`)).status).toBe(404);
  });

  it('and its log are missing for other tenants', async () => {
    const { id } = (await create()).body;
    const stranger = await api.rows.tenant();
    const token = (await api.rows.key(stranger)).token;
    expect((await call('GET', `${base}/${id}`, undefined, token)).body.code).toBe('tenant-not-found');
    for (const suffix of ['', '/deliveries'])
      expect(
        (await call('GET', `/v1/tenants/${stranger}/webhooks/${id}${suffix}`, undefined, token)).body.code,
      ).toBe('not-found');
    expect(
      (await call('POST', `/v1/tenants/${stranger}/webhooks/${id}/secret`, undefined, token)).status,
    ).toBe(404);
    expect((await call('GET', `${base}/${randomUUID()}`)).status).toBe(404);
  });
});

describe('what webhooks may grow to', () => {
  async function other() {
    const id = await api.rows.tenant();
    const { token } = await api.rows.user({ memberships: { [id]: 'admin_iot_project' } });
    const insert = async () => {
      const webhook = randomUUID();
      await api.rows.insert('webhooks', {
        id: webhook,
        tenant_id: id,
        name: webhook,
        url: 'https://1.1.1.1/',
        types: '["operation"]',
        secret: Buffer.alloc(10),
        state: 'active',
        created_by: 'test',
        created_at: new Date(),
        updated_at: new Date(),
      });
      return webhook;
    };
    const log = async (webhook: string, many: number) => {
      const now = new Date();
      await api.connection.query(
        'INSERT INTO webhook_deliveries (webhook_id, event_id, type, payload, state, give_up_at, created_at) VALUES ?',
        [
          Array.from({ length: many }, (_, index) => [
            webhook,
            index,
            'operation',
            '{}',
            'pending',
            now,
            now,
          ]),
        ],
      );
    };
    return { id, token, insert, log };
  }
  const left = async (webhook: string) => {
    const [rows] = await api.connection.query<RowDataPacket[]>(
      'SELECT COUNT(*) AS n FROM webhook_deliveries WHERE webhook_id = ?',
      [webhook],
    );
    return rows[0]?.n;
  };

  it('is fifty in a tenant', async () => {
    const { id, token, insert } = await other();
    for (let index = 0; index < 49; index += 1) await insert();
    const body = { url: 'https://1.1.1.1/hook', types: ['operation'] };
    const path = `/v1/tenants/${id}/webhooks`;
    expect((await call('POST', path, { name: 'last', ...body }, token)).status).toBe(201);
    const answer = await call('POST', path, { name: 'beyond', ...body }, token);
    expect([answer.status, answer.body.code]).toEqual([403, 'quota-exceeded']);
  });

  it('goes with it, however long its log is, and with its tenant', async () => {
    const { id, token, insert, log } = await other();
    const [first, second] = [await insert(), await insert()];
    await log(first, 4500);
    await log(second, 10);
    expect((await call('DELETE', `/v1/tenants/${id}/webhooks/${first}`, undefined, token)).status).toBe(204);
    expect(await left(first)).toBe(0);
    const admin = (await api.rows.user({ isAdmin: true })).token;
    expect((await call('DELETE', `/v1/tenants/${id}`, undefined, admin)).status).toBe(204);
    expect(await left(second)).toBe(0);
  });
});
