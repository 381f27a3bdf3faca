/** Whatever is sent of operations: a problem that names the fault, and not one row changed. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
let operation: string;
let before: Record<string, string>;
beforeAll(async () => {
  ops = await startOperationsApi();
  const board = await ops.board('gw-1');
  operation = (await ops.create({ target: { boards: [board] } })).body.id;
});
afterAll(async () => ops?.stop());

beforeEach(async () => {
  before = await ops.api.checksums();
});
afterEach(async () => {
  expect(await ops.api.checksums()).toEqual(before);
  expect(ops.api.log.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});

const day = 86_400_000;
const window = { from: '02:00', to: '04:00', timeZone: 'Europe/Rome' };
const rollout = { waves: [{ percent: 100 }] };
const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });

/** Each of them would be an operation but for one thing. */
const badOrders: [what: string, body: object, pointer: string][] = [
  ['no procedure', { procedure: undefined }, '/procedure'],
  ['a procedure with a bad name', { procedure: 'Reboot now' }, '/procedure'],
  ['an unknown field', { colour: 'red' }, '/colour'],
  ['args', { args: [1] }, '/args'],
  ['kwargs that are no object', { kwargs: [] }, '/kwargs'],
  ['kwargs that are too large', { kwargs: { a: 'x'.repeat(65_537) } }, '/kwargs'],
  ['kwargs that are too large in bytes', { kwargs: { a: 'ü'.repeat(40_000) } }, '/kwargs'],
  ['kwargs nested too deeply', { kwargs: { a: deep(30) } }, `/kwargs${'/a'.repeat(23)}`],
  ['no target', { target: undefined }, '/target'],
  ['an empty target', { target: {} }, '/target'],
  ['two targets', { target: { boards: ['gw-1'], selector: 'a' } }, '/target'],
  ['no boards', { target: { boards: [] } }, '/target/boards'],
  ['a board twice', { target: { boards: ['gw-1', 'gw-1'] } }, '/target/boards'],
  [
    'too many boards',
    { target: { boards: Array.from({ length: 1001 }, (_, i) => `b${i}`) } },
    '/target/boards',
  ],
  ['a bad selector', { target: { selector: 'a in (' } }, '/target/selector'],
  ['an unknown delivery', { delivery: 'soon' }, '/delivery'],
  ['a window without its delivery', { window }, '/window'],
  ['a delivery without its window', { delivery: 'window' }, '/window'],
  ['a window without length', { delivery: 'window', window: { ...window, to: '02:00' } }, '/window'],
  [
    'a window at no time of day',
    { delivery: 'window', window: { ...window, from: '24:00' } },
    '/window/from',
  ],
  [
    'a window of no zone',
    { delivery: 'window', window: { ...window, timeZone: 'Mars/Base' } },
    '/window/timeZone',
  ],
  ['a rollout without its delivery', { rollout }, '/rollout'],
  ['a delivery without its rollout', { delivery: 'rollout' }, '/rollout'],
  ['a rollout without a plan', { delivery: 'rollout', rollout }, '/plan'],
  ['a rollout without waves', { delivery: 'rollout', rollout: { waves: [] } }, '/rollout/waves'],
  [
    'a wave of both kinds',
    { delivery: 'rollout', rollout: { waves: [{ count: 1, percent: 1 }] } },
    '/rollout/waves/0',
  ],
  [
    'a ramp that goes down',
    {
      delivery: 'rollout',
      rollout: {
        ...rollout,
        rate: { perMinute: 10, ramp: { factor: 2, everySucceeded: 1, maxPerMinute: 5 } },
      },
    },
    '/rollout/rate/ramp/maxPerMinute',
  ],
  ['a deadline that has passed', { deadline: new Date(Date.now() - 1000).toISOString() }, '/deadline'],
  ['a deadline too far away', { deadline: new Date(Date.now() + 367 * day).toISOString() }, '/deadline'],
  ['a deadline that is none', { deadline: 'tomorrow' }, '/deadline'],
  ['no attempts', { attempts: 0 }, '/attempts'],
  ['too many attempts', { attempts: 21 }, '/attempts'],
  ['a plan that is no hash', { plan: 'x' }, '/plan'],
];

describe.each(['/v1/operations', '/v1/operations/plan'])('POST %s', (path) => {
  const applies = badOrders.filter(
    ([what]) => path === '/v1/operations' || what !== 'a rollout without a plan',
  );

  it.each(applies)('%s is refused, with its place', async (_what, body, pointer) => {
    const order = { procedure: 'reboot', target: { boards: ['gw-1'] }, delivery: 'when-online', ...body };
    const answer = await ops.post(path, order);
    expect({ status: answer.status, code: answer.body?.code }, answer.text).toEqual({
      status: 400,
      code: 'invalid-request',
    });
    expect(answer.body.errors.map((each: { pointer: string }) => each.pointer)).toContain(pointer);
  });

  it('a plan that never was is refused', async () => {
    if (path !== '/v1/operations') return;
    const answer = await ops.create({ target: { boards: ['gw-1'] }, plan: '0'.repeat(64) });
    expect([answer.status, answer.body.code]).toEqual([409, 'plan-changed']);
  });

  it.each([
    [{ fleet: 'nobody' }, 404, 'not-found'],
    [{ fleet: randomUUID() }, 404, 'not-found'],
    [{ boards: ["' OR 1=1 -- "] }, 404, 'board-not-found'],
    [{ selector: 'site=nowhere' }, 422, 'invalid-arguments'],
  ])('a target of %o is refused', async (target, status, code) => {
    const answer = await ops.post(path, { procedure: 'reboot', target, delivery: 'now' });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
  });
});

describe('paths and queries', () => {
  it.each([
    '/v1/operations?state=done',
    '/v1/operations?state=',
    '/v1/operations?creator=nobody',
    '/v1/operations?from=yesterday',
    '/v1/operations?schedule=x',
    '/v1/operations?procedure=A',
    '/v1/operations?limit=0',
    '/v1/operations?after=x',
    `/v1/operations?after=${Buffer.from('["newest","x","y"]').toString('base64url')}`,
    `/v1/operations?after=${Buffer.from('["board","x"]').toString('base64url')}`,
    '/v1/operations/x',
    '/v1/artifacts/x',
    '/v1/artifacts/x/content',
  ])('%s is refused', async (path) => {
    const answer = await ops.get(path);
    expect([answer.status, answer.body.code], answer.text).toEqual([400, 'invalid-request']);
  });

  it.each([
    'targets?state=waiting',
    'targets?after=WyJib2FyZCIsMV0',
    'timeline?after=WyJvbGRlc3QiLCJ4Il0',
    'artifacts?after=eA',
  ])('…/%s is refused', async (tail) => {
    const answer = await ops.get(`/v1/operations/${operation}/${tail}`);
    expect([answer.status, answer.body.code], answer.text).toEqual([400, 'invalid-request']);
  });

  it.each(['', '/targets', '/timeline', '/artifacts'])(
    'an operation that is none%s is missing',
    async (tail) => {
      const answer = await ops.get(`/v1/operations/${randomUUID()}${tail}`);
      expect([answer.status, answer.body.code]).toEqual([404, 'not-found']);
    },
  );
});

describe('changes', () => {
  it.each<[string, object]>([
    ['cancel', { boards: [] }],
    ['cancel', { board: 'gw-1' }],
    ['retry', { states: ['running'] }],
    ['retry', { states: [] }],
    ['retry', { deadline: new Date(Date.now() - 1000).toISOString() }],
    ['retry', { deadline: 'soon' }],
  ])('%s with %o is refused', async (step, body) => {
    const answer = await ops.post(`/v1/operations/${operation}/${step}`, body);
    expect([answer.status, answer.body.code], answer.text).toEqual([400, 'invalid-request']);
  });

  it.each(['retry', 'resolve', 'pause', 'resume', 'approve'])(
    '%s is refused where it makes no sense',
    async (step) => {
      const answer = await ops.post(`/v1/operations/${operation}/${step}`);
      expect([answer.status, answer.body.code], answer.text).toEqual([409, 'conflict']);
    },
  );
});
