/** Alarm rules and alarms over HTTP: what is refused, what is stored, who may see and acknowledge it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { alarmLimits } from '../../../common/alarms/rules.ts';
import { fromJsonColumn } from '../../../common/db/json-column.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let manager: string;
let board: string;

const contract = {
  name: 'hv.switch',
  safety: 'idempotent',
  kwargs: { type: 'object', properties: { channel: { type: 'integer' } }, required: ['channel'] },
};

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant('lyon');
  manager = (await api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } })).token;
  board = await api.rows.board(tenant, { name: 'gw-1', contracts_hash: 'a'.repeat(32) }, { site: 'a' });
  await api.rows.insert('procedure_contracts', {
    board_uuid: board,
    name: 'hv.switch',
    contract: JSON.stringify(contract),
  });
});
afterAll(async () => api?.stop());

const call = (method: string, path: string, body?: unknown, token = manager) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });

let count = 0;
const uniqueName = () => {
  count += 1;
  return `rule-${count}`;
};
const above = { above: { threshold: 50 } };
const create = (fields: object = {}, token = manager) =>
  call(
    'POST',
    '/v1/alarm-rules',
    { name: uniqueName(), stream: 'sensor_*/meas1', condition: above, ...fields },
    token,
  );

async function first(sql: string, values: unknown[] = []): Promise<Record<string, unknown> | undefined> {
  const [rows] = await api.connection.query(sql, values);
  return (rows as Record<string, unknown>[])[0];
}
const setOf = () => first('SELECT * FROM alarm_rule_sets WHERE tenant_id = ?', [tenant]);

describe('an alarm rule', () => {
  it('is made with its defaults', async () => {
    const made = await create();
    expect(made.status, made.text).toBe(201);
    expect(made.headers.get('location')).toBe(`/v1/alarm-rules/${made.body.id}`);
    expect(made.body).toMatchObject({
      tenant,
      severity: 'warning',
      enabled: true,
      target: null,
      stream: 'sensor_*/meas1',
      condition: above,
      forSeconds: 0,
      hysteresis: 0,
      clearForSeconds: 0,
      action: null,
      version: 1,
    });
    const found = await call('GET', `/v1/alarm-rules/${made.body.name}`);
    expect(found.body).toEqual(made.body);
    expect((await call('GET', '/v1/alarm-rules?limit=1')).body.items).toHaveLength(1);
  });

  it.each([
    { above: { threshold: 1 } },
    { below: { threshold: -1.5 } },
    { outside: { low: 1, high: 2 } },
    { rate: { perSecond: 0.5, direction: 'rising' } },
    { equals: { value: false } },
    { equals: { value: 'fault' } },
    { noData: {} },
  ])('has the condition %j, and it comes back as it was given', async (condition) => {
    const made = await create({ condition, forSeconds: 60 });
    expect(made.status, made.text).toBe(201);
    expect((await call('GET', `/v1/alarm-rules/${made.body.id}`)).body.condition).toEqual(condition);
  });

  it('watches boards without a stream', async () => {
    const made = await create({ condition: { boardOffline: {} }, stream: undefined, forSeconds: 300 });
    expect(made.body, made.text).toMatchObject({ stream: null, condition: { boardOffline: {} } });
    expect(await setOf()).toMatchObject({ board_rules: 1 });
  });

  it('keeps ids of what was named', async () => {
    const fleet = (await call('POST', '/v1/fleets', { name: 'north' })).body.id;
    const action = { procedure: 'hv.switch', kwargs: { channel: 1 }, board: 'gw-1' };
    const made = await create({ target: { fleet: 'north' }, action });
    expect(made.body, made.text).toMatchObject({
      target: { fleet },
      action: { ...action, board, on: 'raise', delivery: 'when-online', deadlineSeconds: 300, attempts: 1 },
    });
    expect((await create({ target: { boards: ['gw-1'] } })).body.target).toEqual({ boards: [board] });
    expect((await call('DELETE', `/v1/fleets/${fleet}`)).body).toMatchObject({ code: 'conflict' });
  });

  const nameless = { name: undefined };
  it.each<[what: string, fields: object, pointer: string]>([
    ['no name', nameless, '/name'],
    ['an unknown field', { colour: 'red' }, '/colour'],
    ['an unknown severity', { severity: 'fatal' }, '/severity'],
    ['no condition', { condition: undefined }, '/condition'],
    ['an empty condition', { condition: {} }, '/condition'],
    ['two conditions', { condition: { ...above, noData: {} } }, '/condition'],
    ['an unknown condition', { condition: { near: {} } }, '/condition/near'],
    ['no threshold', { condition: { above: {} } }, '/condition/above/threshold'],
    ['a text as threshold', { condition: { above: { threshold: '1' } } }, '/condition/above/threshold'],
    ['low above high', { condition: { outside: { low: 2, high: 1 } } }, '/condition/outside/low'],
    ['a rate of nothing', { condition: { rate: { perSecond: 0 } } }, '/condition/rate/perSecond'],
    [
      'an unknown direction',
      { condition: { rate: { perSecond: 1, direction: 'up' } } },
      '/condition/rate/direction',
    ],
    ['a list to equal', { condition: { equals: { value: [] } } }, '/condition/equals/value'],
    ['a setting of noData', { condition: { noData: { seconds: 1 } } }, '/condition/noData/seconds'],
    ['no stream', { stream: undefined }, '/stream'],
    ['a stream of one segment', { stream: 'meas1' }, '/stream'],
    ['a stream with a space', { stream: 'a b/c' }, '/stream'],
    ['a stream that is too long', { stream: `a/${'x'.repeat(150)}` }, '/stream'],
    ['too many stars', { stream: `a/${'*x'.repeat(11)}` }, '/stream'],
    ['a stream of a board that is offline', { condition: { boardOffline: {} } }, '/stream'],
    ['a duration below zero', { forSeconds: -1 }, '/forSeconds'],
    ['a duration of more than a day', { forSeconds: 86_401 }, '/forSeconds'],
    ['half a second', { forSeconds: 0.5 }, '/forSeconds'],
    ['no duration of silence', { condition: { noData: {} } }, '/forSeconds'],
    ['a negative hysteresis', { hysteresis: -1 }, '/hysteresis'],
    ['a hysteresis of a text', { condition: { equals: { value: 'x' } }, hysteresis: 1 }, '/hysteresis'],
    [
      'a hysteresis that leaves nothing',
      { condition: { outside: { low: 1, high: 2 } }, hysteresis: 0.6 },
      '/hysteresis',
    ],
    ['a hysteresis beyond the rate', { condition: { rate: { perSecond: 1 } }, hysteresis: 2 }, '/hysteresis'],
    [
      'clearing of silence',
      { condition: { noData: {} }, forSeconds: 1, clearForSeconds: 1 },
      '/clearForSeconds',
    ],
    ['two targets', { target: { selector: 'site=a', fleet: 'x' } }, '/target'],
    ['a bad selector', { target: { selector: 'site=' } }, '/target/selector'],
    ['a board that is not there', { target: { boards: ['gw-1', 'gw-9'] } }, '/target/boards/1'],
    ['a fleet that is not there', { target: { fleet: 'nowhere' } }, '/target/fleet'],
    ['an action without a procedure', { action: {} }, '/action/procedure'],
    ['an action at another moment', { action: { procedure: 'hv.switch', on: 'acknowledge' } }, '/action/on'],
    [
      'an action without time',
      { action: { procedure: 'hv.switch', deadlineSeconds: 0 } },
      '/action/deadlineSeconds',
    ],
    [
      'an action on a board that is not there',
      { action: { procedure: 'hv.switch', board: 'gw-9' } },
      '/action/board',
    ],
    [
      'an action with arguments that are too large',
      { action: { procedure: 'a', kwargs: { a: 'x'.repeat(66_000) } } },
      '/action/kwargs',
    ],
    [
      'arguments that break the contract',
      { action: { procedure: 'hv.switch', board: 'gw-1' } },
      '/action/kwargs/channel',
    ],
  ])('is refused with %s', async (_what, fields, pointer) => {
    const before = await api.checksums(['audit_events']);
    const refused = await create(fields);
    expect(refused.status, refused.text).toBeGreaterThanOrEqual(400);
    expect(refused.status).toBeLessThan(500);
    expect(refused.body.errors?.[0]?.pointer ?? '', refused.text).toBe(pointer);
    expect(await api.checksums(['audit_events'])).toEqual(before);
  });

  it('is refused with a number that is none', async () => {
    const text = '{"name":"x","stream":"a/b","condition":{"above":{"threshold":1e999}}}';
    const refused = await api.request('/v1/alarm-rules', { token: manager, raw: text });
    expect(refused.body, refused.text).toMatchObject({ code: 'invalid-request' });
  });

  it('is refused when nobody could do what it starts, or its maker may not', async () => {
    const nobody = await create({ target: { boards: ['gw-1'] }, action: { procedure: 'lv.switch' } });
    expect(nobody.body).toMatchObject({ code: 'procedure-not-found' });
    const reserved = await create({ action: { procedure: 'operation.run' } });
    expect(reserved.body).toMatchObject({ code: 'forbidden' });
    const limited = (await api.rows.key(tenant, { procedures: ['lv.*'] })).token;
    const action = { procedure: 'hv.switch', kwargs: { channel: 1 } };
    expect((await create({ action }, limited)).body).toMatchObject({ code: 'forbidden' });
    const { id } = (await create({ action })).body;
    for (const [method, body] of [
      ['PATCH', { enabled: false }],
      ['DELETE', undefined],
    ] as const)
      expect((await call(method, `/v1/alarm-rules/${id}`, body, limited)).body).toMatchObject({
        code: 'forbidden',
      });
    expect((await call('PATCH', `/v1/alarm-rules/${id}`, { severity: 'info' }, limited)).status).toBe(403);
  });

  it('is changed in part, against the version that was read', async () => {
    const { id } = (await create({ forSeconds: 5, hysteresis: 2 })).body;
    const path = `/v1/alarm-rules/${id}`;
    const revision = async () =>
      (await first('SELECT revision FROM alarm_rules WHERE id = ?', [id]))?.revision;
    const renamed = await call('PATCH', path, { severity: 'critical', version: 1 });
    expect(renamed.body, renamed.text).toMatchObject({ severity: 'critical', forSeconds: 5, version: 2 });
    expect(await revision()).toBe(1);
    const stale = await call('PATCH', path, { severity: 'info', version: 1 });
    expect({ status: stale.status, code: stale.body.code }).toEqual({ status: 412, code: 'stale-version' });
    const moved = await call('PATCH', path, {
      condition: { below: { threshold: 1 } },
      target: { selector: 'site=a' },
    });
    expect(moved.body, moved.text).toMatchObject({ condition: { below: { threshold: 1 } }, hysteresis: 2 });
    expect(await revision()).toBe(2);
    expect((await call('PATCH', path, { target: null })).body.target).toBeNull();
    expect((await call('PATCH', path, { condition: { noData: {} } })).body.errors[0].pointer).toBe(
      '/hysteresis',
    );
  });

  it('acts in the name of whoever made or changed it last', async () => {
    const made = (await create()).body;
    expect(made.author).toBe(made.createdBy);
    const key = await api.rows.key(tenant);
    const changed = await call('PATCH', `/v1/alarm-rules/${made.id}`, {}, key.token);
    expect(changed.body, changed.text).toMatchObject({
      author: `key:${key.id}`,
      createdBy: made.createdBy,
      version: 2,
    });
  });

  it('counts for the conductors: each change shows, and which rules are enabled', async () => {
    const before = await setOf();
    const { id } = (await create()).body;
    await call('PATCH', `/v1/alarm-rules/${id}`, { enabled: false });
    expect(await setOf()).toMatchObject({
      stream_rules: before?.stream_rules,
      version: Number(before?.version) + 2,
    });
    expect((await call('DELETE', `/v1/alarm-rules/${id}`)).status).toBe(204);
    expect((await call('GET', `/v1/alarm-rules/${id}`)).status).toBe(404);
    expect(await setOf()).toMatchObject({ version: Number(before?.version) + 3 });
  });

  it('leaves audit rows with its name', async () => {
    const { id, name } = (await create()).body;
    await call('PATCH', `/v1/alarm-rules/${id}`, { enabled: false });
    await call('DELETE', `/v1/alarm-rules/${id}`);
    const [rows] = await api.connection.query(
      'SELECT action, detail FROM audit_events WHERE target = ? ORDER BY id',
      [id],
    );
    expect(
      (rows as { action: string; detail: string }[]).map(({ action, detail }) => [
        action,
        fromJsonColumn<{ name: string }>(detail).name,
      ]),
    ).toEqual(['createAlarmRule', 'updateAlarmRule', 'deleteAlarmRule'].map((action) => [action, name]));
  });

  it('has a name of its own, and is made once', async () => {
    const name = uniqueName();
    expect((await create({ name })).status).toBe(201);
    expect((await create({ name })).body).toMatchObject({ code: 'name-taken' });
    const options = {
      token: manager,
      body: { name: uniqueName(), stream: 'a/b', condition: above },
      headers: { 'idempotency-key': randomUUID() },
    };
    const made = await api.request('/v1/alarm-rules', options);
    expect((await api.request('/v1/alarm-rules', options)).body).toEqual(made.body);
  });

  it(`is one of ${alarmLimits.rulesPerTenant} at the most`, async () => {
    const full = await api.rows.tenant();
    const row = {
      tenant_id: full,
      severity: 'info',
      target: '{}',
      alarm_condition: '{}',
      created_by: 'test',
    };
    for (let index = 0; index < alarmLimits.rulesPerTenant; index += 1)
      await api.rows.insert('alarm_rules', {
        ...row,
        id: randomUUID(),
        name: `r${index}`,
        created_at: new Date(),
        updated_at: new Date(),
      });
    const { token } = await api.rows.key(full);
    expect((await create({}, token)).body).toMatchObject({ code: 'quota-exceeded' });
  });
});

describe('an alarm', () => {
  async function alarm(tenantId: string, boardUuid: string, columns: object = {}): Promise<string> {
    const id = timeUuid();
    await api.rows.insert('alarms', {
      id,
      tenant_id: tenantId,
      rule_id: randomUUID(),
      rule_name: 'too hot',
      revision: 1,
      severity: 'warning',
      board_uuid: boardUuid,
      board_name: 'gw-1',
      stream_id: 7,
      stream: 'sensor_1/meas1',
      open: 1,
      state: 'raised',
      since: 1_795_824_000_000,
      raised_at: new Date(),
      raised_number: 61.5,
      peak: 70,
      peak_at: 1_795_824_001_000,
      evidence: '{"raised":{"by":"reading"}}',
      ...columns,
    });
    return id;
  }

  it('is shown with its values and times', async () => {
    const id = await alarm(tenant, board);
    expect((await call('GET', `/v1/alarms/${id}`)).body).toMatchObject({
      id,
      tenant,
      board,
      state: 'raised',
      stream: 'sensor_1/meas1',
      since: '2026-11-28T00:00:00.000Z',
      value: 61.5,
      peak: 70,
      peakAt: '2026-11-28T00:00:01.000Z',
      clearedAt: null,
      evidence: { raised: { by: 'reading' } },
    });
  });

  it('is acknowledged once, with an event and an audit row', async () => {
    const id = await alarm(tenant, board);
    const known = await call('POST', `/v1/alarms/${id}/acknowledge`, { comment: 'on my way' });
    expect(known.body, known.text).toMatchObject({
      state: 'acknowledged',
      comment: 'on my way',
      acknowledgedBy: expect.stringMatching(/^user:/),
    });
    const event = await first(
      "SELECT payload, board_uuid FROM events WHERE type = 'alarm' ORDER BY id DESC LIMIT 1",
    );
    expect(event).toMatchObject({ board_uuid: board });
    expect(fromJsonColumn(event?.payload)).toMatchObject({
      alarm: id,
      state: 'acknowledged',
      change: 'acknowledged',
    });
    expect(await first('SELECT action FROM audit_events WHERE target = ?', [id])).toEqual({
      action: 'acknowledgeAlarm',
    });
    expect((await call('POST', `/v1/alarms/${id}/acknowledge`)).body).toMatchObject({ code: 'conflict' });
    const cleared = await alarm(tenant, board, { open: null, state: 'cleared' });
    expect((await call('POST', `/v1/alarms/${cleared}/acknowledge`, {})).body).toMatchObject({
      code: 'conflict',
    });
  });

  it('is told as an event of its own type, and webhooks may ask for it', async () => {
    const id = await alarm(tenant, board);
    const abort = new AbortController();
    const response = await fetch(`${api.url}/v1/events?types=alarm`, {
      signal: abort.signal,
      headers: { authorization: `Bearer ${manager}` },
    });
    await call('POST', `/v1/alarms/${id}/acknowledge`, { comment: 'seen' });
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      if (/event: alarm\n(?:.*\n)*?\n/.test(text)) break;
    }
    abort.abort();
    expect(text).toContain(`"alarm":"${id}"`);
    expect(text).toContain('"change":"acknowledged"');
    const { token } = await api.rows.key(tenant);
    const webhook = { name: 'pager', url: 'https://1.1.1.1/', types: ['alarm'] };
    const made = await api.request(`/v1/tenants/${tenant}/webhooks`, { token, body: webhook });
    expect(made.status, made.text).toBe(201);
  });

  it('is acknowledged without a body', async () => {
    const id = await alarm(tenant, board);
    expect((await call('POST', `/v1/alarms/${id}/acknowledge`)).body).toMatchObject({
      state: 'acknowledged',
      comment: null,
    });
  });

  it.each([
    [{ comment: '' }, '/comment'],
    [{ comment: 'x'.repeat(501) }, '/comment'],
    [{ comment: 'a\u0000' }, '/comment'],
    [{ why: 'x' }, '/why'],
  ])('is not acknowledged with %j', async (body, pointer) => {
    const id = await alarm(tenant, board);
    const refused = await call('POST', `/v1/alarms/${id}/acknowledge`, body);
    expect(refused.status).toBe(400);
    expect(refused.body.errors[0].pointer).toBe(pointer);
  });

  it('is listed newest first, by page and filter', async () => {
    const own = await api.rows.tenant();
    const { token } = await api.rows.key(own);
    const boards = [await api.rows.board(own, { name: 'a' }), await api.rows.board(own, { name: 'b' })];
    const rule = randomUUID();
    const ids: string[] = [];
    for (let index = 0; index < 5; index += 1)
      ids.push(
        await alarm(own, boards[index % 2] as string, {
          stream_id: index,
          rule_id: index === 4 ? rule : randomUUID(),
          severity: index === 0 ? 'critical' : 'info',
          ...(index < 2 && { state: 'cleared', open: null }),
        }),
      );
    // Made within one millisecond they sort by chance.
    const newestFirst = [...ids].sort().reverse();
    const list = async (query: string) => (await call('GET', `/v1/alarms?${query}`, undefined, token)).body;
    const idsOf = async (query: string) =>
      (await list(query)).items.map(({ id }: { id: string }) => id).sort();
    const page = await list('limit=2');
    expect(page.items.map(({ id }: { id: string }) => id)).toEqual(newestFirst.slice(0, 2));
    const rest = await list(`limit=3&after=${page.next}`);
    expect(rest.items.map(({ id }: { id: string }) => id)).toEqual(newestFirst.slice(2));
    expect(rest.next).toBeUndefined();
    expect(await idsOf('state=raised,acknowledged')).toEqual(ids.slice(2).sort());
    expect(await idsOf('severity=critical')).toEqual([ids[0]]);
    expect(await idsOf('board=b')).toEqual([ids[1], ids[3]].sort());
    expect(await idsOf(`rule=${rule}`)).toEqual([ids[4]]);
    const limited = (await api.rows.key(own, { boards: [boards[1] as string] })).token;
    const seen = (await call('GET', '/v1/alarms', undefined, limited)).body.items;
    expect(seen.map(({ id }: { id: string }) => id).sort()).toEqual([ids[1], ids[3]].sort());
    expect((await call('GET', `/v1/alarms/${ids[0]}`, undefined, limited)).status).toBe(404);
  });

  it.each(['state=open', 'severity=bad', 'rule=x', 'after=x', 'limit=0'])(
    'is not listed with %s',
    async (query) => {
      expect((await call('GET', `/v1/alarms?${query}`)).status).toBe(400);
    },
  );

  it('of another tenant does not exist, nor do its rules', async () => {
    const other = await api.rows.tenant('theirs');
    const theirs = await alarm(other, await api.rows.board(other));
    const { token } = await api.rows.key(other);
    const rule = (await create({ name: 'their-rule' }, token)).body.id;
    const tries: [string, string, unknown?][] = [
      ['GET', `/v1/alarms/${theirs}`],
      ['POST', `/v1/alarms/${theirs}/acknowledge`],
      ['GET', `/v1/alarm-rules/${rule}`],
      ['GET', '/v1/alarm-rules/their-rule'],
      ['PATCH', `/v1/alarm-rules/${rule}`, { enabled: false }],
      ['DELETE', `/v1/alarm-rules/${rule}`],
      ['GET', '/v1/alarm-rules?tenant=theirs'],
      ['GET', '/v1/alarms?tenant=theirs'],
      ['POST', '/v1/alarm-rules', { tenant: 'theirs', name: 'planted', stream: 'a/b', condition: above }],
    ];
    const mine = (await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } })).token;
    for (const [method, path, body] of tries) {
      const answer = await call(method, path, body, mine);
      expect(answer.status, `${method} ${path} ${answer.text}`).toBe(404);
    }
    expect(
      (
        await create({
          target: {
            boards: [
              String((await first('SELECT board_uuid FROM alarms WHERE id = ?', [theirs]))?.board_uuid),
            ],
          },
        })
      ).status,
    ).toBe(404);
    const listed = (await call('GET', '/v1/alarms', undefined, mine)).body.items;
    expect(listed.map(({ id }: { id: string }) => id)).not.toContain(theirs);
  });
});
