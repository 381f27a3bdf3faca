/** Sinks over HTTP: what is refused, secrets that are never shown, counts, dead letters. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sinkLimits } from '../../../common/sinks/settings.ts';
import { openSecret } from '../../../common/webhooks/secrets.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let owner: string;

beforeAll(async () => {
  api = await startTestApi({ sinks: { key: 'a-key', allowPrivate: false, dir: undefined } });
  tenant = await api.rows.tenant('lyon');
  owner = (await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } })).token;
});
afterAll(async () => api?.stop());

const call = (method: string, path: string, body?: unknown, token = owner) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });

let count = 0;
const influx = (fields: object = {}) => {
  count += 1;
  return {
    name: `sink-${count}`,
    kind: 'influx',
    settings: { url: 'https://1.1.1.1', database: 'lab', username: 'u' },
    secrets: { password: 'hush hush' },
    ...fields,
  };
};
async function first(sql: string, values: unknown[] = []): Promise<Record<string, unknown> | undefined> {
  const [rows] = await api.connection.query(sql, values);
  return (rows as Record<string, unknown>[])[0];
}
const letter = (sink: string, value: number) =>
  api.rows.insert('sink_dead_letters', {
    sink_id: sink,
    kind: 'rejected',
    reason: 'no',
    point: JSON.stringify({ value }),
    created_at: new Date(),
  });

describe('a sink', () => {
  it('is made with its defaults, its secrets sealed and never shown', async () => {
    const made = await call('POST', '/v1/sinks', influx());
    expect(made.status, made.text).toBe(201);
    expect(made.headers.get('location')).toBe(`/v1/sinks/${made.body.id}`);
    expect(made.body).toMatchObject({
      tenant,
      settings: { api: 'v1', database: 'lab', measurement: '{module}', booleans: 'boolean' },
      filter: {},
      hasSecrets: true,
      batchSize: 10,
      maxAgeMs: 2000,
      state: 'active',
      flow: 'flowing',
      lagSeconds: 0,
      counts: { received: 0, delivered: 0, rejected: 0, skipped: 0, lost: 0, waiting: 0, duplicate: 0 },
    });
    expect(made.text).not.toContain('hush');
    const { id } = made.body;
    expect((await call('GET', `/v1/sinks/${id}`)).body).toEqual(made.body);
    expect((await call('GET', `/v1/sinks/${made.body.name}`)).body).toEqual(made.body);
    expect((await call('GET', '/v1/sinks')).body.items).toEqual([made.body]);
    const row = await first('SELECT secrets FROM sinks WHERE id = ?', [id]);
    expect(JSON.parse(openSecret('a-key', id, row?.secrets as Buffer))).toEqual({ password: 'hush hush' });
    const consumer = await first('SELECT tenant_id, kind FROM reading_consumers WHERE id = ?', [id]);
    expect(consumer).toEqual({ tenant_id: tenant, kind: 'sink' });
    const audit = await first("SELECT detail FROM audit_events WHERE target_kind = 'sink'");
    expect(JSON.stringify(audit)).toMatch(/1\.1\.1\.1/);
    expect(JSON.stringify(audit)).not.toContain('hush');
  });

  it.each([
    [{ settings: { url: 'https://1.1.1.1' } }, 'settings.database'],
    [{ settings: { url: 'http://127.0.0.1:8086', database: 'x' } }, 'url'],
    [{ settings: { url: 'https://1.1.1.1', database: 'x', more: 1 } }, 'more'],
    [{ secrets: { token: '' } }, 'token'],
    [{ kind: 'webhook', settings: { url: 'https://1.1.1.1' }, secrets: {} }, 'secrets.secret'],
    [{ kind: 'file', settings: { name: '../../etc' }, secrets: {} }, 'settings.name'],
    [{ kind: 'mqtt', settings: { url: 'mqtt://10.0.0.1' }, secrets: {} }, 'url'],
    [{ kind: 'nothing' }, 'kind'],
    [{ batchSize: 0 }, 'batchSize'],
    [{ maxAgeMs: 5 }, 'maxAgeMs'],
    [{ filter: { streams: [] } }, 'streams'],
    [{ filter: { streams: ['a/b', 'temperature'] } }, 'filter/streams/1'],
  ])('with %j is refused by name', async (fields, field) => {
    const answer = await call('POST', '/v1/sinks', influx(fields));
    expect(answer.status, answer.text).toBe(400);
    expect(answer.body.code).toBe('invalid-request');
    expect(answer.body.errors[0].pointer).toContain(field.replace('.', '/'));
  });

  it('whose address is not allowed is refused by the field that names it', async () => {
    const settings = { url: 'http://10.1.2.3:8086', database: 'x' };
    const errors = [
      {
        pointer: '/settings/url',
        detail: 'leads to an address that is private or not reachable from everywhere',
      },
    ];
    const refused = await call('POST', '/v1/sinks', influx({ settings }));
    expect(refused.body).toMatchObject({ code: 'invalid-request', errors });
    const { id } = (await call('POST', '/v1/sinks', influx())).body;
    const changed = await call('PATCH', `/v1/sinks/${id}`, { settings, secrets: { password: 'x' } });
    expect(changed.body).toMatchObject({ code: 'invalid-request', errors });
  });

  it('does not take its secrets along to another place', async () => {
    const { id } = (await call('POST', '/v1/sinks', influx())).body;
    for (const url of ['https://8.8.8.8', 'http://1.1.1.1', 'https://1.1.1.1:8086']) {
      const settings = { url, database: 'lab', username: 'u' };
      const refused = await call('PATCH', `/v1/sinks/${id}`, { settings });
      expect(refused.status, refused.text).toBe(400);
      expect(refused.body.errors[0].pointer).toBe('/secrets');
      const both = await call('PATCH', `/v1/sinks/${id}`, { settings, secrets: { password: 'another' } });
      expect(both.status, both.text).toBe(200);
    }
  });

  it('shows its secrets nowhere: in no answer, no log, no audit event, no stored answer', async () => {
    const text = 'Sesame-0pen-Sesame';
    const address = { url: 'https://1.1.1.1' };
    const kinds = [
      influx({ secrets: { password: text } }),
      influx({ settings: { ...address, api: 'v2', org: 'o', bucket: 'b' }, secrets: { token: text } }),
      influx({ kind: 'webhook', settings: address, secrets: { secret: text } }),
      influx({ kind: 'mqtt', settings: { url: 'mqtts://1.1.1.1' }, secrets: { password: text } }),
    ];
    const said: string[] = [];
    for (const body of kinds) {
      const headers = { 'idempotency-key': randomUUID() };
      const made = await api.request('/v1/sinks', { token: owner, body, headers });
      expect(made.status, made.text).toBe(201);
      const path = `/v1/sinks/${made.body.id}`;
      const answers = [
        made,
        await api.request('/v1/sinks', { token: owner, body, headers }),
        await call('PATCH', path, { secrets: body.secrets }),
        await call('PATCH', path, { secrets: { other: text } }),
        await call('PATCH', path, { secrets: text }),
        await call('PATCH', path, { secrets: [text] }),
        await call('PATCH', path, {
          secrets: Object.fromEntries(Object.keys(body.secrets).map((name) => [name, `${text}\n`])),
        }),
        await call('POST', '/v1/sinks', { ...body, kind: 'file', settings: {} }),
        await call('GET', path),
        await call('POST', `${path}/test`),
        await call('DELETE', path),
      ];
      expect(answers.map(({ status }) => status)).toEqual([
        201, 201, 200, 400, 400, 400, 400, 400, 200, 202, 204,
      ]);
      said.push(...answers.map((each) => each.text));
    }
    const [audit] = await api.connection.query("SELECT * FROM audit_events WHERE target_kind = 'sink'");
    const [stored] = await api.connection.query('SELECT * FROM idempotency_keys');
    const [sinks] = await api.connection.query('SELECT * FROM sinks');
    for (const each of [said.join(), api.log.join(), JSON.stringify([audit, stored, sinks])])
      expect(each).not.toContain(text);
    expect((audit as unknown[]).length).toBeGreaterThanOrEqual(16);
  });

  it('is changed by its version, keeps secrets that still fit, and is deleted with its consumer', async () => {
    const { id, version } = (await call('POST', '/v1/sinks', influx())).body;
    const settings = { url: 'https://1.1.1.1/i', database: 'other' };
    const changed = await call('PATCH', `/v1/sinks/${id}`, { settings, batchSize: 50, version });
    expect(changed.status, changed.text).toBe(200);
    expect(changed.body).toMatchObject({ settings, batchSize: 50, hasSecrets: true, version: version + 1 });
    expect((await call('PATCH', `/v1/sinks/${id}`, { batchSize: 1, version })).status).toBe(412);
    const v2 = { api: 'v2', url: 'https://1.1.1.1', org: 'o', bucket: 'b' };
    expect((await call('PATCH', `/v1/sinks/${id}`, { settings: v2 })).status).not.toBe(200);
    const both = { settings: v2, secrets: { token: 't' } };
    expect((await call('PATCH', `/v1/sinks/${id}`, both)).body.settings).toMatchObject(v2);
    expect((await call('DELETE', `/v1/sinks/${id}`)).status).toBe(204);
    expect((await call('GET', `/v1/sinks/${id}`)).status).toBe(404);
    expect(await first('SELECT 1 FROM reading_consumers WHERE id = ?', [id])).toBeUndefined();
  });

  it('shows what waits, how long, and why; is paused, resumed and tried', async () => {
    const { id } = (await call('POST', '/v1/sinks', influx())).body;
    for (const [outbox, readings] of [
      [1, 5],
      [2, 7],
    ])
      await api.connection.query(
        'INSERT INTO outbox_deliveries VALUES (?, ?, ?, UTC_TIMESTAMP(3) - INTERVAL 30 SECOND)',
        [id, outbox, readings],
      );
    await api.connection.query('UPDATE reading_consumers SET taken = 20, lost = 2 WHERE id = ?', [id]);
    await api.connection.query(
      `UPDATE sinks SET delivered = 15, rejected = 3, failing_since = UTC_TIMESTAMP(3), last_error = 'answered 503',
       last_error_at = UTC_TIMESTAMP(3) WHERE id = ?`,
      [id],
    );
    const { body } = await call('GET', `/v1/sinks/${id}`);
    expect(body).toMatchObject({
      flow: 'retrying',
      lastError: 'answered 503',
      counts: { received: 32, delivered: 15, rejected: 3, lost: 2, waiting: 12 },
    });
    expect(body.lagSeconds).toBeGreaterThanOrEqual(30);
    expect((await call('POST', `/v1/sinks/${id}/pause`)).body).toMatchObject({
      state: 'paused',
      flow: 'stopped',
    });
    expect((await call('POST', `/v1/sinks/${id}/test`)).status).toBe(409);
    expect((await call('POST', `/v1/sinks/${id}/resume`)).body).toMatchObject({
      state: 'active',
      flow: 'flowing',
    });
    expect((await call('POST', `/v1/sinks/${id}/test`)).status).toBe(202);
    expect(await first('SELECT kind FROM sink_dead_letters WHERE sink_id = ?', [id])).toEqual({
      kind: 'test',
    });
    expect((await call('GET', `/v1/sinks/${id}/dead-letters`)).body.items).toEqual([]);
  });

  it('lists its dead letters by pages, sends them again and drops them', async () => {
    const { id } = (await call('POST', '/v1/sinks', influx())).body;
    for (const value of [1, 2, 3]) await letter(id, value);
    const path = `/v1/sinks/${id}/dead-letters`;
    const page = (await call('GET', `${path}?limit=2`)).body;
    expect(page.items.map((each: { point: unknown }) => each.point)).toEqual([{ value: 3 }, { value: 2 }]);
    const rest = (await call('GET', `${path}?limit=2&after=${page.next}`)).body;
    expect(rest.items).toMatchObject([{ point: { value: 1 }, state: 'kept', reason: 'no' }]);
    expect((await call('POST', `${path}/replay`, { upTo: rest.items[0].id })).body).toEqual({ count: 1 });
    expect((await call('GET', path)).body.items.map((each: { state: string }) => each.state)).toEqual([
      'kept',
      'kept',
      'replay',
    ]);
    expect((await call('DELETE', path)).body).toEqual({ count: 2 });
    expect((await call('GET', path)).body.items).toHaveLength(1);
  });

  it('of another tenant is not there', async () => {
    const { id, name } = (await call('POST', '/v1/sinks', influx())).body;
    const stranger = await api.rows.tenant();
    const { token } = await api.rows.user({ memberships: { [stranger]: 'admin_iot_project' } });
    for (const reference of [id, name])
      for (const [method, suffix] of [
        ['GET', ''],
        ['PATCH', ''],
        ['DELETE', ''],
        ['POST', '/pause'],
        ['POST', '/resume'],
        ['POST', '/dead-letters/replay'],
        ['POST', '/test'],
        ['GET', '/dead-letters'],
        ['DELETE', '/dead-letters'],
      ] as const) {
        const body = method === 'PATCH' ? {} : undefined;
        expect((await call(method, `/v1/sinks/${reference}${suffix}`, body, token)).status).toBe(404);
      }
    expect((await call('GET', '/v1/sinks', undefined, token)).body.items).toEqual([]);
  });

  it('comes in a limited number', async () => {
    const full = await api.rows.tenant();
    const { token } = await api.rows.user({ memberships: { [full]: 'admin_iot_project' } });
    const file = () => ({ name: randomUUID().slice(0, 18), kind: 'file' });
    for (let index = 0; index < sinkLimits.perTenant; index += 1)
      expect((await call('POST', '/v1/sinks', file(), token)).status).toBe(201);
    expect((await call('POST', '/v1/sinks', file(), token)).body.code).toBe('quota-exceeded');
  });
});
