/** Operations through an api and a conductor that are processes; behind their relay the boards are played. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunRequest } from '../../common/wamp/operations.ts';
import { repositoryRoot } from '../harness/tools.ts';
import { until } from '../harness/until.ts';
import { openEngineFixture, type PlayedRelay, report, status, succeed } from './conductor/engine-support.ts';
import { type RunningApi, relayKey, startApi } from './rpc-support.ts';

let fixture: Awaited<ReturnType<typeof openEngineFixture>>;
let relay: PlayedRelay;
let api: RunningApi;
let conductor: ChildProcess;
let tenant: string;
let token: string;
let boards: string[];

beforeAll(async () => {
  fixture = await openEngineFixture();
  relay = fixture.relay;
  const { rows, connection } = fixture;
  tenant = await rows.tenant();
  token = (await rows.key(tenant)).token;
  boards = [];
  for (const name of ['one', 'two', 'three']) boards.push((await fixture.online(tenant, name)).uuid);
  // Nobody beats here: as far as the conductor knows the boards are well, and their agent too.
  await connection.query('UPDATE boards SET last_heartbeat_at = NOW(3) + INTERVAL 1 HOUR');
  await connection.query('UPDATE board_sessions SET agent_id = (SELECT id FROM wamp_agents LIMIT 1)');
  conductor = spawn(process.execPath, ['conductor/main.ts'], {
    cwd: repositoryRoot,
    env: { ...process.env, DATABASE_URL: fixture.db.url, BOARDWALK_RELAY_KEY: relayKey },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  conductor.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  api = await startApi(fixture.db);
  await until('the conductor is ready', () => output.includes('"ready"'));
});
afterAll(async () => {
  await api?.stop();
  if (conductor) {
    const exited = once(conductor, 'exit');
    conductor.kill('SIGTERM');
    await exited;
  }
  await fixture?.close();
});
beforeEach(() => relay.play((call) => succeed(call)));

async function send(path: string, body?: object) {
  const response = await fetch(api.url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by tests, which fail on a wrong shape
  return { status: response.status, body: (await response.json()) as any };
}
const order = (values: object = {}) => ({
  procedure: 'system.echo',
  target: { boards: ['one'] },
  delivery: 'when-online',
  ...values,
});
const read = async (id: string) => (await send(`/v1/operations/${id}`)).body;
const reaches = (id: string, state: string) =>
  until(`the operation is ${state}`, async () => (await read(id)).state === state);

describe('an operation over HTTP', () => {
  it('ends within its wait, with the board’s result, in a fraction of a second', async () => {
    const took: number[] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      const startedAt = performance.now();
      const answer = await send('/v1/operations?wait=10s', order());
      took.push(performance.now() - startedAt);
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
      expect(answer.body).toMatchObject({
        state: 'succeeded',
        targets: [{ state: 'succeeded', result: { done: true } }],
      });
    }
    // The conductor is woken and tells of the end; nobody waits for a next look.
    expect(Math.min(...took)).toBeLessThan(900);
  });

  it('is tried again by hand, as the next attempt', async () => {
    relay.play((call) => report(call, 'failed', { error: { code: 'procedure-failed', message: 'no' } }));
    const { body } = await send('/v1/operations?wait=10s', order());
    expect(body).toMatchObject({ state: 'failed', targets: [{ error: { message: 'no' } }] });
    relay.play((call) => succeed(call, (call.kwargs as unknown as RunRequest).attempt));
    await send(`/v1/operations/${body.id}/retry`, {});
    await reaches(body.id, 'succeeded');
    expect((await read(body.id)).targets).toMatchObject([{ attempt: 2, result: 2 }]);
    const { items } = (await send(`/v1/operations/${body.id}/timeline`)).body;
    expect(items.map((each: { kind: string }) => each.kind)).toEqual([
      'created',
      'dispatched',
      'failed',
      'failed',
      'retried',
      'dispatched',
      'succeeded',
      'succeeded',
    ]);
  });

  it('that the board is at is told to stop, and ends as the board says', async () => {
    relay.play((call) => {
      if (call.procedure === 'operation.cancel') {
        const { operationIds } = call.kwargs as { operationIds: string[] };
        return status(operationIds.map((operationId) => ({ operationId, attempt: 1, state: 'cancelled' })));
      }
      return report(call, 'running');
    });
    const { body } = await send('/v1/operations', order());
    await until('it runs', async () => (await read(body.id)).counts.running === 1);
    await send(`/v1/operations/${body.id}/cancel`, {});
    await reaches(body.id, 'cancelled');
    expect((await send(`/v1/operations/${body.id}/cancel`, {})).body).toMatchObject({
      code: 'operation-ended',
      state: 'cancelled',
    });
  });

  it('that nobody knows the end of is put right by the journal of its board', async () => {
    relay.play((call) =>
      call.procedure === 'operation.run' ? 'break-off' : { status: 504, code: 'deadline-exceeded' },
    );
    const { body } = await send('/v1/operations?wait=10s', order({ procedure: 'system.once' }));
    expect(body).toMatchObject({ state: 'failed', counts: { unknown: 1 } });
    relay.play((call) => {
      const { operationIds = [] } = call.kwargs as { operationIds?: string[] };
      return status(
        operationIds.map((operationId) => ({
          operationId,
          attempt: 1,
          state: 'succeeded',
          result: 'it did',
        })),
      );
    });
    expect((await send(`/v1/operations/${body.id}/resolve`, {})).status).toBe(202);
    await reaches(body.id, 'succeeded');
    expect((await read(body.id)).targets).toMatchObject([{ state: 'succeeded', result: 'it did' }]);
    expect(relay.calls.filter((call) => JSON.stringify(call.kwargs).includes(body.id))).not.toContainEqual(
      expect.objectContaining({
        procedure: 'operation.run',
        kwargs: expect.objectContaining({ attempt: 2 }),
      }),
    );
  });

  it('goes through its waves as they are approved', async () => {
    const body = order({
      target: { boards: ['two', 'one', 'three'] },
      delivery: 'rollout',
      rollout: { waves: [{ count: 1 }, { percent: 100 }], approval: 'each-wave' },
    });
    const plan = (await send('/v1/operations/plan', body)).body;
    const { id } = (await send('/v1/operations', { ...body, plan: plan.hash })).body;
    const approve = () => send(`/v1/operations/${id}/approve`, {});
    expect((await approve()).body.rollout).toMatchObject({ state: 'running', wave: 1 });
    await until('the first wave is done', async () => (await read(id)).rollout.state === 'waiting');
    const between = await read(id);
    expect(between.counts).toEqual({ succeeded: 1, queued: 2 });
    expect(between.targets.find((each: { wave: number }) => each.wave === 1).boardName).toBe('two');
    await approve();
    await reaches(id, 'succeeded');
    expect((await read(id)).counts).toEqual({ succeeded: 3 });
  });
});
