/** Whatever is sent: a problem document that names the fault, no stack, and not one row changed. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let tenant: string;
let board: string;
let admin: string;
let before: Record<string, string>;

beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant('lyon');
  board = await api.rows.board(tenant, { name: 'gw-1' }, { site: 'lyon' });
  admin = (await api.rows.user({ username: 'root', isAdmin: true })).token;
});
afterAll(async () => api?.stop());

beforeEach(async () => {
  before = await api.checksums();
});
afterEach(async () => {
  expect(await api.checksums()).toEqual(before);
  expect(api.log.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});

function expectProblem(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, code: answer.body?.code }, answer.text).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.body).toMatchObject({
    type: 'about:blank',
    title: expect.any(String),
    requestId: expect.any(String),
  });
  expect(answer.text).not.toMatch(/node_modules|\.ts:|at \w+ \(|SELECT|INSERT|errno/);
}

const post = (path: string, body: unknown) => api.request(path, { token: admin, body });
const raw = (path: string, text: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  api.request(path, { token: admin, raw: text, headers });

/** Each of them would be a board but for one thing. */
const badBoards: [what: string, body: unknown, pointer: string][] = [
  ['an unknown field', { name: 'x', colour: 'red' }, '/colour'],
  [
    'an unknown field deep inside',
    { name: 'x', location: { latitude: 1, longitude: 1, z: 1 } },
    '/location/z',
  ],
  ['no name', {}, '/name'],
  ['a number as name', { name: 7 }, '/name'],
  ['null as name', { name: null }, '/name'],
  ['an empty name', { name: '' }, '/name'],
  ['a name that is too long', { name: 'x'.repeat(101) }, '/name'],
  ['a line feed in the name', { name: 'a\nb' }, '/name'],
  ['NUL in the name', { name: 'a\u0000b' }, '/name'],
  ['an escape character in the name', { name: 'a\u001b[31mb' }, '/name'],
  ['a C1 control character in the name', { name: 'a\u0085b' }, '/name'],
  ['a line separator in the name', { name: 'a\u2028b' }, '/name'],
  ['a space at the end of the name', { name: 'gw ' }, '/name'],
  ['a uuid as name', { name: '0b2f4b3e-6a0e-4f5c-9d7e-3a1b2c4d5e6f' }, '/name'],
  ['a route as name', { name: 'counts' }, '/name'],
  ['a dot as name', { name: '..' }, '/name'],
  [
    'a latitude beyond the pole',
    { name: 'x', location: { latitude: 90.1, longitude: 0 } },
    '/location/latitude',
  ],
  ['half a location', { name: 'x', location: { latitude: 1 } }, '/location/longitude'],
  ['a text as latitude', { name: 'x', location: { latitude: '1', longitude: 1 } }, '/location/latitude'],
  ['text instead of a boolean', { name: 'x', mobile: 'yes' }, '/mobile'],
  ['a label that is not text', { name: 'x', labels: { a: 1 } }, '/labels/a'],
  ['a label with a control character', { name: 'x', labels: { a: 'b\u0007' } }, '/labels/a'],
  ['a label key with a space', { name: 'x', labels: { 'a b': 'c' } }, '/labels'],
  ['an array as labels', { name: 'x', labels: [] }, '/labels'],
  ['extra that is too large', { name: 'x', extra: { a: 'x'.repeat(20_000) } }, '/extra'],
  ['an array as body', [{ name: 'x' }], ''],
  ['a text as body', 'name', ''],
  ['null as body', null, ''],
];

describe('a body that does not fit', () => {
  it.each(badBoards)('%s is refused, with its place', async (_what, body, pointer) => {
    const answer = await post('/v1/boards', body);
    expectProblem(answer, 400, 'invalid-request');
    expect(answer.body.errors.map((each: { pointer: string }) => each.pointer)).toContain(pointer);
  });

  it('says all faults at once', async () => {
    const answer = await post('/v1/boards', { name: '', mobile: 1, x: 1 });
    expect(answer.body.errors.length).toBeGreaterThanOrEqual(3);
  });

  it('never lists more than twenty faults', async () => {
    const fields = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`f${index}`, 1]));
    const answer = await post('/v1/boards', { name: 'x', ...fields });
    expectProblem(answer, 400, 'invalid-request');
    expect(answer.body.errors).toHaveLength(20);
  });

  it('is missing where one is needed', async () => {
    expectProblem(await api.request('/v1/boards', { method: 'POST', token: admin }), 400, 'invalid-request');
  });
});

describe('JSON that is odd', () => {
  const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
  const oddities: [what: string, text: string][] = [
    ['broken JSON', '{"name": "x"'],
    ['nothing but a word', 'undefined'],
    ['two documents', '{"name":"x"}{"name":"y"}'],
    ['a trailing comma', '{"name":"x",}'],
    ['NaN', '{"name":"x","location":{"latitude":NaN,"longitude":1}}'],
    ['a number beyond doubles', '{"name":"x","location":{"latitude":1e999,"longitude":1}}'],
    ['a number beyond doubles where anything may stand', '{"name":"x","extra":{"n":-1e999}}'],
    ['__proto__', '{"name":"x","__proto__":{"isAdmin":true}}'],
    ['__proto__ where anything may stand', '{"name":"x","extra":{"a":{"__proto__":{"isAdmin":true}}}}'],
    ['a lone surrogate in the name', '{"name":"a\\ud800b"}'],
    ['a lone surrogate where anything may stand', '{"name":"x","extra":{"a":"\\udfff"}}'],
    ['a lone surrogate as a member name', '{"name":"x","extra":{"\\ud800":1}}'],
    ['nesting of a hundred', `{"name":"x","extra":${deep(100)}}`],
    ['nesting of a hundred thousand', `{"name":"x","extra":${deep(100_000)}}`],
    ['a duplicate key whose last value is bad', '{"name":"x","name":7}'],
    ['a constructor in the place of fields', '{"name":"x","constructor":{"prototype":{}}}'],
  ];

  it.each(oddities)('%s is refused', async (_what, text) => {
    expectProblem(await raw('/v1/boards', text), 400, 'invalid-request');
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
  });

  it('bytes that are not UTF-8 do not become a name', async () => {
    const bytes = Uint8Array.from([...Buffer.from('{"name":"a'), 0xff, 0xfe, ...Buffer.from('"}')]);
    expectProblem(await raw('/v1/boards', bytes), 400, 'invalid-request');
  });

  it('a body beyond 1 MiB is too large, whether its length is announced or not', async () => {
    const text = JSON.stringify({ name: 'x', extra: { a: 'x'.repeat(1_100_000) } });
    expectProblem(await raw('/v1/boards', text), 413, 'payload-too-large');
    const chunked = await fetch(`${api.url}/v1/boards`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
      body: new Blob([text]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
    await chunked.text();
  });

  it.each([
    ['text/plain', {}],
    ['application/xml', {}],
    ['application/x-www-form-urlencoded', {}],
    ['multipart/form-data; boundary=x', {}],
    ['application/json; charset=utf-7', {}],
    ['application/json', { 'content-encoding': 'gzip' }],
  ])('%s with %o is no media type of ours', async (type, headers) => {
    const answer = await raw('/v1/boards', '{"name":"x"}', { 'content-type': type, ...headers });
    expectProblem(answer, 415, 'unsupported-media-type');
  });
});

describe('paths, queries and headers that are odd', () => {
  const get = (path: string, headers: Record<string, string> = {}) =>
    api.request(path, { token: admin, headers });

  it.each([
    '/v1/boards?limit=0',
    '/v1/boards?limit=1001',
    '/v1/boards?limit=ten',
    '/v1/boards?limit=1&limit=2',
    '/v1/boards?limit=',
    '/v1/boards?colour=red',
    '/v1/boards?after=x',
    '/v1/boards?after=WyJuYW1lIl0',
    '/v1/boards?after=WyJjcmVhdGVkQXQiLCJ4IiwieSJd',
    `/v1/boards?sort=createdAt&after=${Buffer.from('["createdAt","x","y"]').toString('base64url')}`,
    `/v1/boards?after=${Buffer.from('["name","x","é"]').toString('base64url')}`,
    `/v1/boards?after=${Buffer.from('["name",1,2]').toString('base64url')}`,
    `/v1/audit-events?after=${Buffer.from('["newest",1,"x"]').toString('base64url')}`,
    `/v1/users?after=${Buffer.from('["username",null]').toString('base64url')}`,
    '/v1/boards?status=broken',
    '/v1/boards?sort=colour',
    '/v1/boards?sort=name;DROP%20TABLE%20boards',
    '/v1/boards?labels=site=',
    '/v1/boards?labels=(',
    '/v1/boards?labels=a%20in%20(b',
    `/v1/boards?labels=${'a,'.repeat(30)}a`,
    `/v1/boards?namePrefix=${'x'.repeat(101)}`,
    '/v1/boards/%zz',
    '/v1/boards/gw-1%00',
    '/v1/boards?tenant=lyon%07',
    '/v1/tenants/lyon%0A',
    `/v1/boards/${'x'.repeat(101)}`,
    '/v1/audit-events?limit=-1',
    '/v1/boards?access_token=x',
  ])('%s is refused', async (path) => {
    expectProblem(await get(path), 400, 'invalid-request');
  });

  it.each([
    ["/v1/boards/' OR 1=1 -- ", 'board-not-found'],
    ['/v1/boards/%F0%9F%92%A9', 'board-not-found'],
    ['/v1/boards/gw-%25', 'board-not-found'],
    ['/v1/boards/00000000-0000-0000-0000-000000000000', 'board-not-found'],
    ['/v1/tenants/%C3%A9', 'tenant-not-found'],
    ['/v1/tenants/x%22%3B', 'tenant-not-found'],
    ['/v1/users/%5C%27', 'not-found'],
    ['/v1/boards?tenant=nobody', 'tenant-not-found'],
    ['/v1/boards/gw-1?tenant=nobody', 'board-not-found'],
  ])('%s is not found', async (path, code) => {
    expectProblem(await get(path), 404, code);
  });

  it.each([
    '/',
    '/v1',
    '/v2/boards',
    '/v1/Boards',
    '/v1/boards/',
    '/v1/boards/x/y',
    '/.env',
    '/docs/../.env',
    '/docs/x',
  ])('%s is no route', async (path) => {
    expectProblem(await get(path), 404, 'not-found');
  });

  it.each([
    ['PUT', '/v1/boards', 'GET, POST, HEAD'],
    ['OPTIONS', '/v1/boards', 'GET, POST, HEAD'],
    ['PATCH', '/v1/tenants', 'GET, POST, HEAD'],
    ['DELETE', '/healthz', 'GET, HEAD'],
  ])('%s %s is no method of it', async (method, path, allow) => {
    const answer = await api.request(path, { method, token: admin });
    expectProblem(answer, 405, 'method-not-allowed');
    expect(answer.headers.get('allow')).toBe(allow);
  });

  it('HEAD of an endless answer is refused', async () => {
    const answer = await api.request('/v1/events', { method: 'HEAD', token: admin });
    expect(answer.status).toBe(405);
  });

  it('an answer in a form that does not exist is refused', async () => {
    expectProblem(await get('/v1/boards', { accept: 'text/html' }), 406, 'not-acceptable');
  });

  it.each(['3', '"x"', '"1", "2"', '*'])('If-Match %s is refused', async (tag) => {
    const answer = await api.request(`/v1/boards/${board}`, {
      method: 'PATCH',
      token: admin,
      body: { type: 'x' },
      headers: { 'if-match': tag },
    });
    expectProblem(answer, 400, 'invalid-request');
  });

  it('a version in the body that is not the one of If-Match is refused', async () => {
    const answer = await api.request(`/v1/boards/${board}`, {
      method: 'PATCH',
      token: admin,
      body: { type: 'x', version: 1 },
      headers: { 'if-match': '"2"' },
    });
    expectProblem(answer, 400, 'invalid-request');
  });

  it.each(['', 'x'.repeat(201), 'a b'])('the Idempotency-Key %j is refused', async (key) => {
    const answer = await api.request('/v1/tenants', {
      token: admin,
      body: { name: 'x' },
      headers: { 'idempotency-key': key },
    });
    expectProblem(answer, 400, 'invalid-request');
  });
});

describe('names that are taken', () => {
  it.each([
    ['a board', '/v1/boards', { name: 'gw-1' }, '/name'],
    ['a board in another case', '/v1/boards', { name: 'GW-1' }, '/name'],
    ['a tenant', '/v1/tenants', { name: 'Lyon' }, '/name'],
    ['a user', '/v1/users', { username: 'ROOT', password: 'a-password-of-tests' }, '/username'],
  ])('%s is refused', async (_what, path, body, pointer) => {
    const answer = await post(path, body);
    expectProblem(answer, 409, 'name-taken');
    expect(answer.body.errors).toEqual([{ pointer, detail: 'is taken' }]);
  });

  it('a slug that was asked for is refused', async () => {
    const created = await api.connection.query('SELECT slug FROM tenants WHERE id = ?', [tenant]);
    const [{ slug }] = created[0] as [{ slug: string }];
    const answer = await post('/v1/tenants', { name: 'another', slug });
    expectProblem(answer, 409, 'name-taken');
    expect(answer.body.errors[0].pointer).toBe('/slug');
  });
});
