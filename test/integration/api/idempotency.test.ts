/** Creating once, however often it is asked. */
import { randomUUID } from 'node:crypto';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let token: string;
beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant();
  token = (await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } })).token;
});
afterAll(async () => api?.stop());

const create = (body: unknown, key: string, as = token, path = '/v1/boards') =>
  api.request(path, { method: 'POST', token: as, body, headers: { 'idempotency-key': key } });

async function count(table: string): Promise<number> {
  const [rows] = await api.connection.query<RowDataPacket[]>('SELECT COUNT(*) AS count FROM ??', [table]);
  return Number(rows[0]?.count);
}

describe('the same key', () => {
  it('with the same body gives the first answer again: status, place, and the code shown once', async () => {
    const key = randomUUID();
    const first = await create({ name: 'once', labels: { a: '1', b: '2' } }, key);
    expect(first.status).toBe(201);
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    const before = await api.checksums();
    const again = await create({ labels: { b: '2', a: '1' }, name: 'once' }, key);
    expect(again.status).toBe(201);
    expect(again.body).toEqual(first.body);
    expect(again.body.enrolmentCode.code).toBe(first.body.enrolmentCode.code);
    expect(again.headers.get('location')).toBe(first.headers.get('location'));
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(await api.checksums()).toEqual(before);
  });

  it('with another body, or for another operation, is a conflict', async () => {
    const key = randomUUID();
    const { body } = await create({ name: 'first-body' }, key);
    expect((await create({ name: 'other-body' }, key)).body.code).toBe('idempotency-conflict');
    const code = await api.request(`/v1/boards/${body.uuid}/enrolment-code`, {
      method: 'POST',
      token,
      headers: { 'idempotency-key': key },
    });
    expect(code.body.code).toBe('idempotency-conflict');
  });

  it('goes into what is stored of the request: the body alone, which may hold a password, gives nothing away', async () => {
    const { body } = await create({ name: 'twice' }, randomUUID());
    for (const key of [randomUUID(), randomUUID()])
      await create(undefined, key, token, `/v1/boards/${body.uuid}/enrolment-code`);
    const [rows] = await api.connection.query<RowDataPacket[]>(
      "SELECT DISTINCT request_hash FROM idempotency_keys WHERE operation_id = 'createEnrolmentCode'",
    );
    expect(rows).toHaveLength(2);
  });

  it('of another caller is another key', async () => {
    const key = randomUUID();
    const other = await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } });
    await create({ name: 'mine' }, key);
    expect((await create({ name: 'theirs' }, key, other.token)).status).toBe(201);
  });

  it('sent many times at once creates one, and everybody gets that one', async () => {
    const key = randomUUID();
    const before = await count('boards');
    const answers = await Promise.all(Array.from({ length: 12 }, () => create({ name: 'at-once' }, key)));
    expect(answers.map((each) => each.status)).toEqual(Array(12).fill(201));
    expect(new Set(answers.map((each) => each.body.enrolmentCode.code)).size).toBe(1);
    expect(answers.filter((each) => each.headers.get('idempotency-replayed') === null)).toHaveLength(1);
    expect(await count('boards')).toBe(before + 1);
  });

  it('may be used again after a refusal, which leaves nothing behind', async () => {
    const key = randomUUID();
    await create({ name: 'in-the-way' }, randomUUID());
    const kept = await count('idempotency_keys');
    expect((await create({ name: 'in-the-way' }, key)).body.code).toBe('name-taken');
    expect(await count('idempotency_keys')).toBe(kept);
    expect((await create({ name: 'out-of-the-way' }, key)).status).toBe(201);
  });

  it('begins anew after a day', async () => {
    const key = randomUUID();
    await create({ name: 'yesterday' }, key);
    await api.connection.query('UPDATE idempotency_keys SET expires_at = UTC_TIMESTAMP(3)');
    const answer = await create({ name: 'today' }, key);
    expect([answer.status, answer.body.name]).toEqual([201, 'today']);
  });
});

describe('what is stored', () => {
  it('holds neither the key nor what the answer showed once', async () => {
    const key = randomUUID();
    const board = await create({ name: 'secret' }, key);
    const path = `/v1/tenants/${tenant}/api-keys`;
    const apiKey = await create({ name: 'secret', role: 'user_iot' }, randomUUID(), token, path);
    const [rows] = await api.connection.query<RowDataPacket[]>('SELECT * FROM idempotency_keys');
    const [everything] = await api.connection.query<RowDataPacket[]>(
      'SELECT * FROM api_keys, enrolment_codes',
    );
    const dump = rows
      .map((row) => `${JSON.stringify(row)}${(row.answer as Buffer).toString('latin1')}`)
      .join();
    for (const secret of [key, board.body.enrolmentCode.code, apiKey.body.key]) {
      expect(dump).not.toContain(secret);
      expect(JSON.stringify(everything)).not.toContain(secret);
      expect(api.log.join()).not.toContain(secret);
    }
  });
});
