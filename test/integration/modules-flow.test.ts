/** From a device that nobody knows to its decision: board, router, wamp-agent, database and api together. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { findFreePort } from '../../bin/stack/ports.ts';
import type { ModuleReport, ModuleState, ModulesAnswer } from '../../common/wamp/modules.ts';
import { agentUris, reservedProcedures } from '../../common/wamp/uris.ts';
import { runAgent } from '../harness/test-board.ts';
import { repositoryRoot } from '../harness/tools.ts';
import { until } from '../harness/until.ts';
import { createRows, type RunningApi, relayKey, startApi } from './rpc-support.ts';
import {
  type Fixture,
  greet,
  joinBoard,
  type SeededBoard,
  seedBoard,
  seedCode,
  seedTenant,
  startFixture,
} from './wamp-agent/fixture.ts';
import type { RawSession } from './wamp-agent/raw-wamp.ts';

let fixture: Fixture;
let api: RunningApi;
let token: string;
let tenantId: string;
let board: SeededBoard;
let session: RawSession;

/** What the board holds; filled by every answer. */
const decisions = new Map<string, ModuleState>();
const policies: string[] = [];
let version: string | undefined;

beforeAll(async () => {
  fixture = await startFixture(1, { BOARDWALK_RELAY_KEY: relayKey });
  api = await startApi(fixture.database);
  tenantId = await seedTenant(fixture);
  ({ token } = await createRows(fixture.sql).key(tenantId, { role: 'admin_iot_project' }));
  board = await seedBoard(fixture, tenantId);
  session = await joinBoard(fixture, board);
  await greet(session, undefined, async (procedure) => {
    if (procedure !== reservedProcedures.modules) throw new Error(`not expected: ${procedure}`);
    await report();
    return { reported: 1 };
  });
}, 180_000);
afterAll(async () => {
  session?.cut();
  await api?.stop();
  await fixture?.stop();
});

/** As a board does: it tells of what it hears, and takes over what it is told. */
async function report(): Promise<void> {
  const module: ModuleReport = {
    name: 'n1',
    source: 'field',
    state: decisions.get('n1') ?? 'quarantined',
    firstSeenAt: 1_700_000_000_000,
    lastSeenAt: 1_700_000_001_000,
    lastSeq: 3,
    received: 3,
    duplicate: 1,
    missed: 0,
    late: 0,
    restarted: 0,
    badMac: 0,
    refused: 0,
  };
  const sources = [
    { name: 'field', kind: 'coap', received: 4, stored: 0, duplicate: 1, rejected: 0, waiting: 3 },
  ];
  const answer = (await session.call(agentUris.reportModules, {
    modules: [module],
    sources,
    ...(version !== undefined && { version }),
  })) as ModulesAnswer;
  version = answer.version;
  policies.push(answer.unknownDevices);
  if (!answer.decisions) return;
  decisions.clear();
  for (const { name, state } of answer.decisions) decisions.set(name, state);
}

async function ask(method: string, path: string, body?: object) {
  const response = await fetch(api.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: looked into by the test, which fails on a wrong shape
  return { status: response.status, body: (response.status === 204 ? {} : await response.json()) as any };
}

it('a device waits at the door, is let in and forgotten, and the board knows each time without being told twice', async () => {
  await report();
  expect(decisions.get('n1')).toBe('quarantined');
  const waiting = await ask('GET', `/v1/tenants/${tenantId}/modules?state=quarantined`);
  expect(waiting.body.items).toMatchObject([
    { board: board.uuid, boardName: board.name, name: 'n1', sequence: { received: 3, duplicate: 1 } },
  ]);
  const module = `/v1/boards/${board.uuid}/modules/n1`;
  expect((await ask('PATCH', module, { state: 'accepted' })).status).toBe(200);
  await until('the board lets it in', () => decisions.get('n1') === 'accepted');
  await report();
  expect((await ask('GET', module)).body).toMatchObject({ state: 'accepted', boardState: 'accepted' });
  const sources = await ask('GET', `/v1/boards/${board.uuid}/sources`);
  expect(sources.body.items).toMatchObject([{ name: 'field', waiting: 3, balanced: true }]);

  // Who rejects unknown devices and forgets one hears of it no more.
  await ask('PATCH', `/v1/tenants/${tenantId}`, { unknownDevices: 'reject' });
  await until('the board knows the policy', () => policies.at(-1) === 'reject');
  expect((await ask('DELETE', module)).status).toBe(204);
  await until('the board has no decision', () => !decisions.has('n1'));
  await report();
  expect((await ask('GET', module)).status).toBe(404);

  const events = await fixture.rows(
    "SELECT payload FROM events WHERE board_uuid = ? AND type = 'module' ORDER BY id",
    [board.uuid],
  );
  expect(events.map(({ payload }) => payload.change)).toEqual(['discovered', 'accepted', 'forgotten']);
});

interface Gateway {
  /** Of the board in the API. */
  path: string;
  uuid: string;
  /** What a device says to it. */
  post(message: object): Promise<Response>;
}

/** A board agent with the source `http`, as a process, for as long as the work takes. */
async function withGateway(work: (gateway: Gateway) => Promise<void>): Promise<void> {
  const gateway = await seedBoard(fixture, tenantId);
  await ask('PATCH', `/v1/tenants/${tenantId}`, { unknownDevices: 'quarantine' });
  const state = await mkdtemp(join(tmpdir(), 'boardwalk-gateway-'));
  const port = await findFreePort();
  const rules = [{ match: 'r', decoder: 'json', options: { device: 'device', seq: 'seq' } }];
  const settings = { sources: [{ kind: 'http', name: 'field', port, rules }] };
  await writeFile(join(state, 'settings.json'), JSON.stringify(settings));
  const code = await seedCode(fixture, gateway.uuid);
  await runAgent(['enrol', '--state', state, '--url', fixture.router.url, '--code', '-'], code);
  const log = await open(join(state, 'agent.log'), 'a');
  const agent: ChildProcess = spawn(join(repositoryRoot, 'bin/boardwalk-agent'), ['run', '--state', state], {
    stdio: ['ignore', log.fd, log.fd],
  });
  try {
    const path = `/v1/boards/${gateway.uuid}`;
    await until('online', async () => (await ask('GET', path)).body.status === 'online', {
      timeoutMs: 60_000,
    });
    const post = (message: object) =>
      fetch(`http://127.0.0.1:${port}/r`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(message),
      });
    await work({ path, uuid: gateway.uuid, post });
  } catch (error) {
    throw new Error(await readFile(join(state, 'agent.log'), 'utf8'), { cause: error });
  } finally {
    const ended = new Promise<void>((resolve) => void agent.once('exit', () => resolve()));
    agent.kill('SIGTERM');
    await ended;
    await log.close();
    await rm(state, { recursive: true, force: true });
  }
}

it('a real gateway holds what a device sends, and gives it all once the device is let in', async () => {
  await withGateway(async ({ path, uuid, post }) => {
    for (const seq of [1, 2, 4, 2]) expect((await post({ device: 'n9', seq, temp: 20 + seq })).ok).toBe(true);
    const waiting = await until(
      'the device waits at the door',
      async () => {
        const { body } = await ask('GET', `/v1/tenants/${tenantId}/modules?state=quarantined`);
        return body.items.find((each: { name: string }) => each.name === 'n9');
      },
      { timeoutMs: 60_000 },
    );
    expect(waiting).toMatchObject({ board: uuid, origin: 'discovered', source: 'field' });
    expect((await ask('GET', `${path}/streams`)).body.items).toEqual([]);
    expect((await ask('PATCH', `${path}/modules/n9`, { state: 'accepted' })).status).toBe(200);
    await until(
      'its readings are there',
      async () => (await ask('GET', `${path}/streams`)).body.items[0]?.count === 3,
      { timeoutMs: 60_000 },
    );
    const module = await until(
      'the counts are reported',
      async () => {
        const { body } = await ask('GET', `${path}/modules/n9`);
        return body.boardState === 'accepted' && body.sequence.duplicate === 1 && body;
      },
      { timeoutMs: 60_000 },
    );
    expect(module).toMatchObject({
      streams: 1,
      sequence: { received: 3, duplicate: 1, missed: 1, lastSeq: 4, resets: 0 },
    });
    const { items } = (await ask('GET', `${path}/sources`)).body;
    expect(items).toMatchObject([
      { name: 'field', received: 4, stored: 3, duplicate: 1, waiting: 0, balanced: true },
    ]);
  });
}, 240_000);

it('ids that somebody invents fill so many places, and a real device is seen once they are cleared away', async () => {
  await withGateway(async ({ path, post }) => {
    const quarantine = async () => (await ask('GET', `${path}/modules?limit=1`)).body.quarantine;
    const outcomeOf = async (device: string) => {
      const answer = (await (await post({ device, seq: 1, temp: 20 })).json()) as { outcome: string };
      return answer.outcome;
    };
    // The gateway has its decisions then: before them every device is held.
    expect(await outcomeOf('x')).toBe('held');
    await until('one is known', async () => (await quarantine()).used === 1, { timeoutMs: 60_000 });
    const invented = await Promise.all(Array.from({ length: 120 }, (_, index) => outcomeOf(`x${index}`)));
    expect(invented.filter((each) => each === 'held')).toHaveLength(99);
    expect(invented.filter((each) => each === 'dead-letter')).toHaveLength(21);
    await until('the places are taken', async () => (await quarantine()).used === 100, { timeoutMs: 60_000 });
    expect(await quarantine()).toEqual({ used: 100, limit: 100 });
    expect(await outcomeOf('real')).toBe('dead-letter');
    const source = await until(
      'the refusals are counted',
      async () => {
        const [found] = (await ask('GET', `${path}/sources`)).body.items;
        return found.rejected === 22 && found;
      },
      { timeoutMs: 60_000 },
    );
    expect(source).toMatchObject({ received: 122, waiting: 100, balanced: true });
    const cleared = await ask('DELETE', `${path}/modules?state=quarantined`);
    expect(cleared).toMatchObject({ status: 200, body: { forgotten: 100 } });
    await until(
      'the gateway has cleared them away as well',
      async () => (await outcomeOf('real')) === 'held',
    );
    await until(
      'the real one is seen, and nothing of the flood',
      async () => {
        const { items } = (await ask('GET', `${path}/modules`)).body;
        return items.map((each: { name: string }) => each.name).join() === 'real';
      },
      { timeoutMs: 60_000 },
    );
  });
}, 240_000);
