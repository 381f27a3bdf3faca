import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readyBoards, releaseBoards } from '../../../common/db/queries/board-queues.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { type ClaimOptions, claimBoards } from '../../../conductor/engine/claim.ts';
import { createSafetyCache } from '../../../conductor/engine/load.ts';
import { createRecorder } from '../../../conductor/engine/recorder.ts';
import { changeOf } from '../../../conductor/engine/views.ts';
import { until } from '../../harness/until.ts';
import { type EngineFixture, openEngineFixture, succeed } from './engine-support.ts';
import { silent } from './support.ts';

let fix: EngineFixture;

beforeAll(async () => {
  fix = await openEngineFixture();
});
afterEach(async () => {
  await fix.stopEngines();
  fix.relay.calls.length = 0;
  fix.relay.play((call) => succeed(call));
});
afterAll(() => fix.close());

async function boards(tenant: string, count: number): Promise<string[]> {
  const uuids: string[] = [];
  for (let index = 0; index < count; index += 1)
    uuids.push((await fix.online(tenant, `board ${index}`)).uuid);
  return uuids;
}

const countIn = (state: string, tenant: string) =>
  fix.value('SELECT COUNT(*) FROM operation_targets WHERE state = ? AND tenant_id = ?', [state, tenant]);

const claimOptions = (owner: string, leaseSeconds: number): ClaimOptions => ({
  owner,
  leaseSeconds,
  rules: { graceMs: 60_000, maxRuns: 8, conductor: owner },
  safeties: createSafetyCache(),
  onFault: (error) => {
    throw error;
  },
});

describe('three engines on the same queues', () => {
  it('send each operation once, one at a time for each board', async () => {
    const tenant = await fix.rows.tenant();
    const uuids = await boards(tenant, 40);
    fix.relay.play(async (call) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 15));
      return succeed(call);
    });
    for (let count = 0; count < 3; count += 1) fix.start({ lookEveryMs: 50 }).setConductors(3);
    for (let count = 0; count < 5; count += 1) await fix.operation(tenant, uuids);
    await until('all are done', async () => Number(await countIn('succeeded', tenant)) === 200, {
      timeoutMs: 30_000,
    });
    const calls = fix.relay.calls.map(
      ({ boardUuid, kwargs }) => `${boardUuid} ${String(kwargs?.operationId)}`,
    );
    expect(calls).toHaveLength(200);
    expect(new Set(calls).size).toBe(200);
    for (const uuid of uuids) expect(fix.relay.atOnce(uuid)).toBe(1);
    expect(
      await fix.value('SELECT COUNT(*) FROM operation_targets WHERE tenant_id = ? AND deliveries <> 1', [
        tenant,
      ]),
    ).toBe(0);
    await until(
      'all boards are given back',
      async () =>
        (await fix.value('SELECT COUNT(*) FROM board_queues WHERE tenant_id = ? AND owner IS NOT NULL', [
          tenant,
        ])) === 0,
    );
  });
});

describe('a board of a conductor that died', () => {
  it('is left alone until the lease ends, and its operation is then sent again as the same attempt', async () => {
    const tenant = await fix.rows.tenant();
    const [uuid = ''] = await boards(tenant, 1);
    const id = await fix.operation(tenant, [uuid]);
    const dead = timeUuid();
    const claim = await fix.database.transaction((manager) =>
      claimBoards(manager, [uuid], claimOptions(dead, 2)),
    );
    expect(claim.works).toHaveLength(1);
    expect(await fix.target(id)).toMatchObject({ state: 'dispatched', attempt: 1, deliveries: 1 });
    const claimedAt = performance.now();
    fix.start({ lookEveryMs: 50 });
    await until('it is done', async () => (await fix.state(id)) === 'succeeded');
    expect((fix.relay.calls[0]?.at ?? 0) - claimedAt).toBeGreaterThan(1900);
    expect(await fix.target(id)).toMatchObject({ attempt: 1, deliveries: 2 });
    expect(await fix.kinds(id)).toEqual(['dispatched', 'sent-again', 'succeeded']);
  });

  it('is not given back by its old holder, should that come to life again', async () => {
    const tenant = await fix.rows.tenant();
    const [uuid = ''] = await boards(tenant, 1);
    await fix.operation(tenant, [uuid]);
    const [old, young] = [timeUuid(), timeUuid()];
    const take = (owner: string) =>
      fix.database.transaction((manager) => claimBoards(manager, [uuid], claimOptions(owner, 60)));
    const first = await take(old);
    expect((await take(young)).taken).toBe(0);
    await fix.connection.query(
      'UPDATE board_queues SET until_at = UTC_TIMESTAMP(3), next_at = UTC_TIMESTAMP(3) WHERE board_uuid = ?',
      [uuid],
    );
    const second = await take(young);
    expect(second.taken).toBe(1);
    const release = (owner: string, claim: typeof first) =>
      fix.database.transaction((manager) =>
        releaseBoards(
          manager,
          owner,
          claim.works.map(({ loaded: { held } }) => ({ board: held, nextAt: undefined, hasOpen: true })),
        ),
      );
    await release(old, first);
    expect(await fix.queue(uuid)).toMatchObject({ owner: young, ready: 1 });
    await release(young, second);
    expect(await fix.queue(uuid)).toMatchObject({ owner: null, ready: null, has_open: 1 });
  });

  it('is due at once when something came in while it was held', async () => {
    const tenant = await fix.rows.tenant();
    const [uuid = ''] = await boards(tenant, 1);
    await fix.operation(tenant, [uuid]);
    const owner = timeUuid();
    const claim = await fix.database.transaction((manager) =>
      claimBoards(manager, [uuid], claimOptions(owner, 60)),
    );
    await fix.database.transaction((manager) =>
      readyBoards(manager, [{ boardUuid: uuid, tenantId: tenant }]),
    );
    await fix.database.transaction((manager) =>
      releaseBoards(
        manager,
        owner,
        claim.works.map(({ loaded: { held } }) => ({ board: held, nextAt: undefined, hasOpen: false })),
      ),
    );
    const queue = await fix.queue(uuid);
    expect(queue).toMatchObject({ owner: null, ready: 1, has_open: 1 });
    expect(new Date(String(queue?.next_at)).getTime()).toBeLessThanOrEqual(Date.now() + 50);
  });
});

describe('outcomes of many boards in one transaction', () => {
  it('are all written but the one that cannot be', async () => {
    const tenant = await fix.rows.tenant();
    const uuids = await boards(tenant, 5);
    const id = await fix.operation(tenant, uuids);
    const owner = timeUuid();
    const { works } = await fix.database.transaction((manager) =>
      claimBoards(manager, uuids, claimOptions(owner, 60)),
    );
    const ends: string[] = [];
    const recorder = createRecorder({
      database: fix.database,
      owner,
      logger: silent,
      now: Date.now,
      onWritten: () => undefined,
      onEnded: (ids) => ends.push(...ids),
    });
    await Promise.all(
      works.map(({ loaded: { held }, targets: [target] }, index) => {
        if (!target) throw new Error('it has no target');
        const change = changeOf(target, { state: 'succeeded', result: index });
        // A fault of ours, of the third one.
        const changes = [index === 2 ? { ...change, from: 'expired' as const } : change];
        return recorder.record({
          boardUuid: held.boardUuid,
          changes,
          release: { board: held, nextAt: undefined, hasOpen: false },
        });
      }),
    );
    expect(await countIn('succeeded', tenant)).toBe(4);
    const bad = works[2]?.loaded.held.boardUuid ?? '';
    expect(await fix.target(id, bad)).toMatchObject({ state: 'dispatched' });
    expect(await fix.queue(bad)).toMatchObject({ owner });
    expect(await fix.value('SELECT COUNT(*) FROM board_queues WHERE owner = ?', [owner])).toBe(1);
    await recorder.settle();
    expect(ends).toEqual([]);
  });
});

describe('places', () => {
  it('are shared by tenants in turns, so that a small one does not wait for a large one', async () => {
    const [large, small] = [await fix.rows.tenant(), await fix.rows.tenant()];
    const [many, few] = [await boards(large, 120), await boards(small, 5)];
    await fix.operation(large, many);
    await fix.operation(small, few);
    fix.start({ limits: { inFlight: 4, inFlightPerTenant: 4, drainPerSecond: 50 } });
    await until('all are done', async () => Number(await countIn('succeeded', large)) === 120, {
      timeoutMs: 30_000,
    });
    const last = fix.relay.calls.findLastIndex(({ boardUuid }) => few.includes(boardUuid));
    expect(last).toBeGreaterThan(0);
    expect(last).toBeLessThan(20);
  });

  it('are limited for each tenant', async () => {
    const tenant = await fix.rows.tenant();
    const uuids = await boards(tenant, 12);
    let [now, most] = [0, 0];
    fix.relay.play(async (call) => {
      now += 1;
      most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, 40));
      now -= 1;
      return succeed(call);
    });
    await fix.operation(tenant, uuids);
    fix.start({ limits: { inFlight: 100, inFlightPerTenant: 3, drainPerSecond: 50 } });
    await until('all are done', async () => Number(await countIn('succeeded', tenant)) === 12);
    expect(most).toBe(3);
  });

  it('of boards that came back together are given at the set rate, while others are served at once', async () => {
    const tenant = await fix.rows.tenant();
    const uuids = await boards(tenant, 41);
    const [live = '', ...back] = uuids;
    await fix.operation(tenant, back, {}, { queued: false });
    const entries = back.map((boardUuid) => ({ boardUuid, tenantId: tenant }));
    await fix.database.transaction((manager) => readyBoards(manager, entries, 1));
    const engine = fix.start({ limits: { inFlight: 200, inFlightPerTenant: 100, drainPerSecond: 20 } });
    await until('the first are sent', () => fix.relay.calls.length >= 5);
    const id = await fix.operation(tenant, [live]);
    const startedAt = performance.now();
    engine.wake([live]);
    await until('the live one is done', async () => (await fix.state(id)) === 'succeeded', { everyMs: 5 });
    expect(performance.now() - startedAt).toBeLessThan(500);
    await until('all are done', async () => Number(await countIn('succeeded', tenant)) === 41);
    const times = fix.relay.calls.filter(({ boardUuid }) => boardUuid !== live).map(({ at }) => at);
    const seconds = ((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1000;
    // 40 at 20 a second, less the first burst; on a busy machine it takes longer.
    expect(seconds).toBeGreaterThan(1.6);
    expect(seconds).toBeLessThan(6);
  });
});
