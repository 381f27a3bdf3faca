/** Schedules over HTTP: what is refused, what is stored, and what a change makes of the due times. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let manager: string;
let board: string;

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant('lyon');
  manager = (await api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } })).token;
  board = await api.rows.board(tenant, { name: 'gw-1', contracts_hash: 'a'.repeat(32) }, { site: 'a' });
  await api.rows.insert('procedure_contracts', {
    board_uuid: board,
    name: 'gpio.write',
    contract: JSON.stringify({
      name: 'gpio.write',
      safety: 'idempotent',
      kwargs: { type: 'object', properties: { pin: { type: 'integer' } }, required: ['pin'] },
    }),
  });
});
afterAll(async () => api?.stop());

const call = (method: string, path: string, body?: unknown, token = manager) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });

let count = 0;
const uniqueName = () => {
  count += 1;
  return `schedule-${count}`;
};
const operation = { procedure: 'gpio.write', kwargs: { pin: 4 }, target: { boards: ['gw-1'] } };
const create = (fields: object = {}, token = manager) =>
  call(
    'POST',
    '/v1/schedules',
    { name: uniqueName(), timing: { cron: '0 3 * * *' }, operation, ...fields },
    token,
  );

const rowOf = async (id: string) => {
  const [rows] = await api.connection.query('SELECT * FROM schedules WHERE id = ?', [id]);
  return (rows as { next_at: Date | null; state: string; operation: unknown }[])[0];
};

describe('a schedule', () => {
  it('goes to a fleet by its name, in whatever script, and by its id', async () => {
    const fleet = (await call('POST', '/v1/fleets', { name: 'Zürich', boards: ['gw-1'] })).body.id;
    for (const reference of ['Zürich', fleet]) {
      const made = await create({ operation: { ...operation, target: { fleet: reference } } });
      expect(made.status, made.text).toBe(201);
      expect(made.body.operation.target).toEqual({ fleet });
    }
  });

  it('is made with its defaults, its boards by their ids, and the times it will be due', async () => {
    const made = await create({ timing: { cron: '30 2 * * *', timeZone: 'Europe/Rome' } });
    expect(made.status, made.text).toBe(201);
    expect(made.body).toMatchObject({
      tenant,
      state: 'active',
      timing: { cron: '30 2 * * *', timeZone: 'Europe/Rome' },
      operation: {
        procedure: 'gpio.write',
        kwargs: { pin: 4 },
        target: { boards: [board] },
        delivery: 'when-online',
        deadlineSeconds: 3600,
        attempts: 1,
        parallel: false,
      },
      jitterSeconds: 0,
      overlap: 'skip',
      catchUp: 'last',
      catchUpLimit: 10,
      offline: false,
      lastDueAt: null,
      lastError: null,
      version: 1,
    });
    expect(made.body.nextDueAt).toHaveLength(5);
    const times = made.body.nextDueAt.map((each: string) => Date.parse(each));
    expect(times[0]).toBeGreaterThan(Date.now());
    expect(times[4] - times[0]).toBeGreaterThan(95 * 3_600_000);
    expect((await rowOf(made.body.id))?.next_at?.getTime()).toBe(times[0]);
    expect((await call('GET', `/v1/schedules/${made.body.name}`)).body).toEqual(made.body);
    expect(made.headers.get('location')).toBe(`/v1/schedules/${made.body.id}`);
  });

  it('keeps an interval from a time, and one time', async () => {
    const from = new Date(Date.now() + 3_600_000).toISOString();
    const interval = await create({ timing: { everySeconds: 600, from } });
    expect(interval.body.timing).toEqual({ everySeconds: 600, from });
    expect(interval.body.nextDueAt[0]).toBe(from);
    const once = await create({ timing: { at: from } });
    expect(once.body).toMatchObject({ timing: { at: from }, nextDueAt: [from] });
  });

  const faults: [what: string, fields: object, status: number, pointer: string][] = [
    ['no timing at all', { timing: {} }, 400, '/timing'],
    ['two timings', { timing: { cron: '* * * * *', everySeconds: 5 } }, 400, '/timing'],
    ['a cron that never comes', { timing: { cron: '0 0 30 2 *' } }, 400, '/timing/cron'],
    ['a cron that is none', { timing: { cron: '61 * * * *' } }, 400, '/timing/cron'],
    ['an unknown zone', { timing: { cron: '* * * * *', timeZone: 'Mars/Olympus' } }, 400, '/timing/timeZone'],
    ['a zone without a cron', { timing: { everySeconds: 5, timeZone: 'UTC' } }, 400, '/timing/timeZone'],
    ['a time that has passed', { timing: { at: '2020-01-01T00:00:00Z' } }, 400, '/timing/at'],
    ['a jitter beyond the deadline', { jitterSeconds: 3600 }, 400, '/jitterSeconds'],
    ['a leap second', { timing: { at: '2030-06-30T23:59:60Z' } }, 400, '/timing/at'],
    [
      'a window without length',
      {
        operation: {
          ...operation,
          delivery: 'window',
          window: { from: '08:00', to: '08:00', timeZone: 'UTC' },
        },
      },
      400,
      '/operation/window',
    ],
    [
      'a window that is missing',
      { operation: { ...operation, delivery: 'window' } },
      400,
      '/operation/window',
    ],
    [
      'no such board',
      { operation: { ...operation, target: { boards: ['gw-9'] } } },
      404,
      '/operation/target/boards/0',
    ],
    [
      'a bad selector',
      { operation: { ...operation, target: { selector: 'a=(' } } },
      400,
      '/operation/target/selector',
    ],
    [
      'arguments that no board takes',
      { operation: { ...operation, kwargs: {} } },
      422,
      '/operation/kwargs/pin',
    ],
    [
      'an offline one with a window',
      {
        offline: true,
        operation: {
          ...operation,
          delivery: 'window',
          window: { from: '08:00', to: '09:00', timeZone: 'UTC' },
        },
      },
      400,
      '/operation/delivery',
    ],
    [
      'an offline one that is tried twice',
      { offline: true, operation: { ...operation, attempts: 2 } },
      400,
      '/operation/attempts',
    ],
  ];
  it.each(faults)('with %s is refused, with its place', async (_what, fields, status, pointer) => {
    const answer = await create(fields);
    expect(answer.status, answer.text).toBe(status);
    expect(answer.body.errors.map((each: { pointer: string }) => each.pointer)).toContain(pointer);
  });

  it('whose procedure no board has, or whose fleet is not there, is refused', async () => {
    const unknown = await create({ operation: { ...operation, procedure: 'reboot' } });
    expect([unknown.status, unknown.body.code]).toEqual([404, 'procedure-not-found']);
    const fleet = await create({ operation: { ...operation, target: { fleet: 'none' } } });
    expect([fleet.status, fleet.body.code]).toEqual([404, 'not-found']);
    const reserved = await create({ operation: { ...operation, procedure: 'operation.run' } });
    expect(reserved.status).toBe(403);
  });

  it('may go to a fleet that has no boards yet, and then keeps it from being deleted', async () => {
    const fleet = (await call('POST', '/v1/fleets', { name: 'later' })).body.id;
    const made = await create({ operation: { ...operation, target: { fleet: 'later' } } });
    expect(made.body.operation.target).toEqual({ fleet });
    expect((await call('DELETE', '/v1/fleets/later')).status).toBe(409);
    expect((await call('DELETE', `/v1/schedules/${made.body.id}`)).status).toBe(204);
    expect((await call('DELETE', '/v1/fleets/later')).status).toBe(204);
  });

  it('changes by version, and counts its due times anew', async () => {
    const { body } = await create();
    const path = `/v1/schedules/${body.id}`;
    const changed = await call('PATCH', path, {
      timing: { everySeconds: 3600 },
      overlap: 'queue',
      catchUp: 'all',
      catchUpLimit: 3,
      jitterSeconds: 30,
      version: 1,
    });
    expect(changed.body).toMatchObject({ overlap: 'queue', catchUp: 'all', catchUpLimit: 3, version: 2 });
    const next = Date.parse(changed.body.nextDueAt[0]);
    expect(next - Date.now()).toBeGreaterThan(3_590_000);
    expect((await rowOf(body.id))?.next_at?.getTime()).toBe(next);
    expect((await call('PATCH', path, { overlap: 'skip', version: 1 })).status).toBe(412);
    const renamed = await call('PATCH', path, {
      name: 'renamed',
      operation: { ...operation, kwargs: { pin: 5 } },
    });
    expect(renamed.body).toMatchObject({
      name: 'renamed',
      overlap: 'queue',
      operation: { kwargs: { pin: 5 } },
    });
    expect((await call('PATCH', path, { operation: { ...operation, kwargs: {} } })).status).toBe(422);
  });

  it('rests while it is paused, and what fell into the pause is not made up for', async () => {
    const { body } = await create({ timing: { everySeconds: 60 } });
    const path = `/v1/schedules/${body.id}`;
    for (let times = 0; times < 2; times += 1)
      expect((await call('POST', `${path}/pause`)).body).toMatchObject({
        state: 'paused',
        nextDueAt: [],
        version: 2,
      });
    expect((await rowOf(body.id))?.next_at).toBeNull();
    const resumed = await call('POST', `${path}/resume`);
    expect(resumed.body).toMatchObject({ state: 'active', version: 3 });
    expect((await rowOf(body.id))?.next_at?.getTime()).toBeGreaterThan(Date.now());
  });

  it('that has ended is started again by a new time only', async () => {
    const { body } = await create({ timing: { at: new Date(Date.now() + 60_000).toISOString() } });
    const path = `/v1/schedules/${body.id}`;
    await api.connection.query("UPDATE schedules SET state = 'ended', next_at = NULL WHERE id = ?", [
      body.id,
    ]);
    for (const step of ['pause', 'resume'])
      expect((await call('POST', `${path}/${step}`)).body.code).toBe('conflict');
    expect((await call('PATCH', path, { jitterSeconds: 1 })).body.state).toBe('ended');
    const at = new Date(Date.now() + 120_000).toISOString();
    expect((await call('PATCH', path, { timing: { at } })).body).toMatchObject({
      state: 'active',
      nextDueAt: [at],
    });
  });

  it('that its boards run by themselves is not the conductor’s to look at, but for the end of one time', async () => {
    const daily = await create({ offline: true });
    expect((await rowOf(daily.body.id))?.next_at).toBeNull();
    const at = Date.now() + 60_000;
    const once = await create({
      offline: true,
      jitterSeconds: 10,
      timing: { at: new Date(at).toISOString() },
    });
    expect((await rowOf(once.body.id))?.next_at?.getTime()).toBe(at + 3_610_000);
    const back = await call('PATCH', `/v1/schedules/${daily.body.id}`, { offline: false });
    expect((await rowOf(daily.body.id))?.next_at?.toISOString()).toBe(back.body.nextDueAt[0]);
  });

  it('is a key’s to make and to change only for procedures of its scope', async () => {
    const key = (await api.rows.key(tenant, { role: 'manager_iot_project', procedures: ['gpio.*'] })).token;
    const other = (await api.rows.key(tenant, { role: 'manager_iot_project', procedures: ['ping'] })).token;
    const made = await create({}, key);
    expect(made.status).toBe(201);
    expect((await create({}, other)).status).toBe(403);
    const path = `/v1/schedules/${made.body.id}`;
    for (const [method, suffix, body] of [
      ['PATCH', '', { overlap: 'queue' }],
      ['POST', '/pause', undefined],
      ['DELETE', '', undefined],
    ] as const)
      expect((await call(method, path + suffix, body, other)).status).toBe(403);
    expect((await call('GET', path, undefined, other)).status).toBe(200);
  });

  it('is in the name of whoever made, changed or resumed it last', async () => {
    const other = await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } });
    const key = await api.rows.key(tenant);
    const made = (await create()).body;
    expect(made.author).toBe(made.createdBy);
    const path = `/v1/schedules/${made.id}`;
    const answers = async (method: string, suffix: string, token: string, body?: object) =>
      (await call(method, path + suffix, body, token)).body;
    expect(await answers('POST', '/pause', key.token)).toMatchObject({ author: made.author });
    expect(await answers('POST', '/resume', key.token)).toMatchObject({ author: `key:${key.id}` });
    expect(await answers('PATCH', '', other.token, {})).toMatchObject({
      author: `user:${other.id}`,
      createdBy: made.createdBy,
    });
  });

  it('is counted against the quota of schedules, exactly', async () => {
    const limited = await api.rows.tenant();
    const token = (await api.rows.key(limited)).token;
    await api.connection.query(`UPDATE tenants SET quotas = '{"schedules": 2}' WHERE id = ?`, [limited]);
    const target = { boards: [await api.rows.board(limited)] };
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => create({ operation: { procedure: 'ping', target } }, token)),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(2);
    expect(answers.find(({ status }) => status !== 201)?.body).toMatchObject({
      code: 'quota-exceeded',
      quota: 'schedules',
      limit: 2,
    });
  });

  it('lists what became of its due times, newest first', async () => {
    const { body } = await create();
    const minute = 60_000;
    const now = Math.floor(Date.now() / minute) * minute;
    for (const [age, outcome] of [
      [3, 'missed'],
      [2, 'created'],
      [1, 'skipped'],
    ] as const)
      await api.rows.insert('schedule_runs', {
        schedule_id: body.id,
        due_at: new Date(now - age * minute),
        outcome,
        at: new Date(),
      });
    const first = await call('GET', `/v1/schedules/${body.id}/runs?limit=2`);
    expect(first.body.items.map((each: { outcome: string }) => each.outcome)).toEqual(['skipped', 'created']);
    const second = await call('GET', `/v1/schedules/${body.id}/runs?limit=2&after=${first.body.next}`);
    expect(second.body.items).toMatchObject([
      { outcome: 'missed', dueAt: new Date(now - 3 * minute).toISOString(), operation: null, detail: null },
    ]);
    expect(second.body.next).toBeUndefined();
  });

  it('of another tenant is missing', async () => {
    const { body } = await create();
    const stranger = (await api.rows.key(await api.rows.tenant())).token;
    for (const reference of [body.id, body.name])
      expect((await call('GET', `/v1/schedules/${reference}`, undefined, stranger)).body.code).toBe(
        'not-found',
      );
    expect((await call('GET', '/v1/schedules', undefined, stranger)).body.items).toEqual([]);
  });
});
