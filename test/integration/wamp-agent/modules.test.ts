/** Reports of modules by boards at a real router, and what the database keeps of them. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type {
  ModuleReport,
  ModulesAnswer,
  ModulesRequest,
  SourceReport,
} from '../../../common/wamp/modules.ts';
import { moduleLimits } from '../../../common/wamp/modules.ts';
import { agentUris, enroleeAuthid } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import {
  type Fixture,
  greet,
  helloOf,
  joinBoard,
  joinService,
  type SeededBoard,
  seedBoard,
  seedCode,
  seedKey,
  seedTenant,
  startFixture,
} from './fixture.ts';
import { join, type RawSession } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;
let board: SeededBoard;
let session: RawSession;

beforeAll(async () => {
  fixture = await startFixture();
}, 180_000);
afterAll(() => fixture?.stop());

beforeEach(async () => {
  tenantId = await seedTenant(fixture);
  ({ board, session } = await online());
});

async function online(): Promise<{ board: SeededBoard; session: RawSession }> {
  const seeded = await seedBoard(fixture, tenantId);
  const joined = await joinBoard(fixture, seeded);
  await greet(joined, helloOf({ modules: [{ name: 'system', streams: [] }] }));
  return { board: seeded, session: joined };
}

const since = Date.parse('2026-11-01T00:00:00.000Z');

function moduleOf(name: string, more: Partial<ModuleReport> = {}): ModuleReport {
  return {
    name,
    source: 'field',
    state: 'accepted',
    firstSeenAt: since,
    lastSeenAt: since + 1000,
    lastSeq: 7,
    received: 7,
    duplicate: 0,
    missed: 0,
    late: 0,
    restarted: 0,
    badMac: 0,
    refused: 0,
    ...more,
  };
}

const sourceOf = (more: Partial<SourceReport> = {}): SourceReport => ({
  name: 'field',
  kind: 'coap',
  received: 10,
  stored: 7,
  duplicate: 1,
  rejected: 1,
  waiting: 1,
  ...more,
});

async function report(
  modules: ModuleReport[],
  more: Partial<ModulesRequest> = {},
  on: RawSession = session,
): Promise<ModulesAnswer> {
  return (await on.call(agentUris.reportModules, { modules, sources: [], ...more })) as ModulesAnswer;
}

const setPolicy = (policy: string, perMinute = 60) =>
  fixture.sql.query('UPDATE tenants SET unknown_devices = ?, devices_per_minute = ? WHERE id = ?', [
    policy,
    perMinute,
    tenantId,
  ]);

async function rowOf(name: string) {
  const [row] = await fixture.rows('SELECT * FROM modules WHERE board_uuid = ? AND name = ?', [
    board.uuid,
    name,
  ]);
  return row;
}

async function stateOf(name: string): Promise<string | undefined> {
  return (await rowOf(name))?.state as string | undefined;
}

describe('a report of modules', () => {
  it('puts unknown devices in quarantine by default, with an event and an audit row each', async () => {
    const answer = await report([moduleOf('n1', { state: 'quarantined' })]);
    expect(answer).toMatchObject({ unknownDevices: 'quarantine', createPerMinute: 60 });
    expect(answer.decisions).toEqual([
      { name: 'n1', state: 'quarantined' },
      { name: 'system', state: 'accepted' },
    ]);
    expect(await rowOf('n1')).toMatchObject({
      origin: 'discovered',
      state: 'quarantined',
      board_state: 'quarantined',
      source: 'field',
      tenant_id: tenantId,
      received: 7,
      last_seq: 7,
      first_seen_at: new Date(since),
    });
    const events = await fixture.rows("SELECT payload FROM events WHERE board_uuid = ? AND type = 'module'", [
      board.uuid,
    ]);
    expect(events.map((row) => row.payload)).toEqual([
      {
        board: board.uuid,
        module: 'n1',
        state: 'quarantined',
        origin: 'discovered',
        change: 'discovered',
        at: expect.any(String),
      },
    ]);
    const audits = await fixture.rows(
      "SELECT * FROM audit_events WHERE action = 'discover-module' AND actor = ?",
      [board.uuid],
    );
    expect(audits).toMatchObject([
      {
        actor_kind: 'board',
        tenant_id: tenantId,
        target_kind: 'module',
        target: `${board.uuid}/n1`,
        result: 'ok',
      },
    ]);
  });

  it('lets them in where the policy creates them', async () => {
    await setPolicy('create');
    const { decisions } = await report([moduleOf('n1')]);
    expect(decisions).toContainEqual({ name: 'n1', state: 'accepted' });
  });

  it('does not overrule a board that holds a device back', async () => {
    await setPolicy('create');
    await report([moduleOf('n1', { state: 'quarantined' }), moduleOf('n2', { state: 'rejected' })]);
    expect(await stateOf('n1')).toBe('quarantined');
    expect(await rowOf('n2')).toBeUndefined();
  });

  it('writes nothing down where the policy rejects them', async () => {
    await setPolicy('reject');
    const { version } = await report([]);
    const answer = await report([moduleOf('n1')], { version });
    expect(answer).toEqual({ unknownDevices: 'reject', createPerMinute: 60, version });
    expect(await rowOf('n1')).toBeUndefined();
  });

  it('gives the decisions only to a board that does not hold them', async () => {
    const first = await report([moduleOf('n1')]);
    const same = await report([moduleOf('n1', { received: 8 })], { version: first.version });
    expect(same).toEqual({ unknownDevices: 'quarantine', createPerMinute: 60, version: first.version });
    const more = await report([moduleOf('n2')], { version: first.version });
    expect(more.version).not.toBe(first.version);
    expect(more.decisions?.map((each) => each.name)).toEqual(['n1', 'n2', 'system']);
  });

  it('quarantines what comes faster than the policy creates', async () => {
    await setPolicy('create', 3);
    await report([1, 2, 3, 4].map((index) => moduleOf(`n${index}`)));
    await report([moduleOf('n5')]);
    const rows = await fixture.rows(
      "SELECT name, state FROM modules WHERE board_uuid = ? AND origin = 'discovered' ORDER BY name",
      [board.uuid],
    );
    expect(rows.map((row) => row.state)).toEqual([
      'accepted',
      'accepted',
      'accepted',
      'quarantined',
      'quarantined',
    ]);
    await fixture.sql.query(
      'UPDATE modules SET created_at = created_at - INTERVAL 61 SECOND WHERE board_uuid = ?',
      [board.uuid],
    );
    await report([moduleOf('n6')]);
    expect(await stateOf('n6')).toBe('accepted');
  });

  it('has room for so many devices of a board, and tells the board of the one too many', async () => {
    const { perReport, perBoard } = moduleLimits;
    await setPolicy('create', 2 * perBoard);
    for (let from = 0; from < perBoard; from += perReport)
      await report(Array.from({ length: perReport }, (_, index) => moduleOf(`n${from + index}`)));
    const { version, decisions } = await report([]);
    expect(decisions).toHaveLength(perBoard + 1);
    const answer = await report([moduleOf('one-too-many'), moduleOf('n1')], { version });
    expect(answer.version).toBe(version);
    expect(answer.decisions?.filter((each) => each.state === 'rejected')).toEqual([
      { name: 'one-too-many', state: 'rejected' },
    ]);
    expect(await rowOf('one-too-many')).toBeUndefined();
  });

  describe('of devices that nobody knows', () => {
    const { strangers } = moduleLimits;
    const held = (name: string, more: Partial<ModuleReport> = {}) =>
      moduleOf(name, { state: 'quarantined', received: 0, lastSeq: null, ...more });
    const invented = Array.from({ length: strangers }, (_, index) => held(`x${index}`));
    const waiting = async () =>
      (
        await fixture.rows(
          "SELECT name FROM modules WHERE board_uuid = ? AND state = 'quarantined' ORDER BY name",
          [board.uuid],
        )
      ).map(({ name }) => String(name));
    /** As if they had come so long ago. */
    const age = (seconds: number) =>
      fixture.sql.query(
        'UPDATE modules SET created_at = created_at - INTERVAL ? SECOND WHERE board_uuid = ?',
        [seconds, board.uuid],
      );

    it('keeps a few, refuses more, and takes them in later, when they are still heard and there is room', async () => {
      await report(invented);
      const refused = await report([held('real')], await versionOf());
      expect(refused.decisions).toContainEqual({ name: 'real', state: 'rejected' });
      expect(await waiting()).toHaveLength(strangers);
      const rejected = held('real', { state: 'rejected', refused: 1 });
      const again = await report([rejected], await versionOf());
      // It knows that already.
      expect(again.decisions).toBeUndefined();
      await fixture.sql.query("DELETE FROM modules WHERE board_uuid = ? AND name = 'x5'", [board.uuid]);
      const { decisions } = await report([rejected], await versionOf());
      expect(decisions).toContainEqual({ name: 'real', state: 'quarantined' });
      expect(await rowOf('real')).toMatchObject({ state: 'quarantined', board_state: 'rejected' });
    });

    it('keeps no place from those that are let in, and of those that somebody decided about', async () => {
      await report(invented);
      await setPolicy('create');
      await report([moduleOf('fresh')]);
      expect(await stateOf('fresh')).toBe('accepted');
      await fixture.sql.query(
        "UPDATE modules SET decided_by = 'user:x', decided_at = NOW(3) WHERE board_uuid = ? AND name = 'x1'",
        [board.uuid],
      );
      await report([held('one-more')]);
      expect(await stateOf('one-more')).toBe('quarantined');
    });

    it('lets one that is quiet give way, by the clock of the board and by that of the server', async () => {
      const later = since + 1000 + 600_000;
      await report(invented);
      await report([held('x0', { lastSeenAt: later })]);
      const newcomer = held('real', { firstSeenAt: later, lastSeenAt: later });
      await report([newcomer]);
      // The board's clock says so, and the server knows better.
      expect(await rowOf('real')).toBeUndefined();
      await age(600);
      await report([held('too-early', { lastSeenAt: later - 1 })]);
      expect(await rowOf('too-early')).toBeUndefined();
      const { decisions } = await report([newcomer]);
      expect(await stateOf('real')).toBe('quarantined');
      const left = await waiting();
      expect(left).toHaveLength(strangers);
      expect(left).toContain('x0');
      const [gone] = invented.map(({ name }) => name).filter((name) => !left.includes(name));
      expect(decisions?.some(({ name }) => name === gone)).toBe(false);
      const events = await fixture.rows(
        "SELECT payload FROM events WHERE board_uuid = ? AND type = 'module' ORDER BY id DESC LIMIT 2",
        [board.uuid],
      );
      expect(events.map(({ payload }) => `${payload.module} ${payload.change}`)).toEqual([
        'real discovered',
        `${gone} forgotten`,
      ]);
      const audits = await fixture.rows(
        "SELECT target, detail FROM audit_events WHERE action = 'forget-module' AND actor = ?",
        [board.uuid],
      );
      expect(audits).toMatchObject([{ target: `${board.uuid}/${gone}` }]);
    });

    it('does not take back what somebody has forgotten before the board knows', async () => {
      await report([held('n1')]);
      const { version } = await versionOf();
      await fixture.sql.query('DELETE FROM modules WHERE board_uuid = ? AND name = ?', [board.uuid, 'n1']);
      await fixture.sql.query("UPDATE boards SET modules_version = 'newer' WHERE uuid = ?", [board.uuid]);
      const { decisions } = await report([held('n1', { state: 'rejected' })], { version });
      expect(decisions?.map(({ name }) => name)).toEqual(['system']);
      expect(await rowOf('n1')).toBeUndefined();
    });

    const versionOf = async () => ({ version: (await report([])).version });
  });

  it('keeps totals: repeated, overtaken and lost reports change nothing for good', async () => {
    const later = moduleOf('n1', {
      received: 9,
      duplicate: 2,
      missed: 1,
      lastSeq: 12,
      lastSeenAt: since + 9000,
    });
    await report([moduleOf('n1')]);
    for (const each of [later, later, moduleOf('n1')]) await report([each]);
    expect(await rowOf('n1')).toMatchObject({
      received: 9,
      duplicate: 2,
      missed: 1,
      last_seq: 12,
      last_seen_at: new Date(since + 9000),
      count_resets: 0,
    });
    // What was missed came late.
    await report([{ ...later, missed: 0, late: 1, received: 10 }]);
    expect(await rowOf('n1')).toMatchObject({ received: 10, missed: 0, late: 1 });
  });

  it('counts anew, and says so, when the file of the board was replaced', async () => {
    await report([moduleOf('n1', { received: 500 })]);
    await fixture.sql.query("UPDATE modules SET state = 'accepted' WHERE board_uuid = ?", [board.uuid]);
    const replaced = since + 86_400_000;
    await report([moduleOf('n1', { received: 2, lastSeq: 2, firstSeenAt: replaced })]);
    await report([moduleOf('n1', { received: 3, lastSeq: 3, firstSeenAt: replaced })]);
    expect(await rowOf('n1')).toMatchObject({
      state: 'accepted',
      received: 3,
      last_seq: 3,
      count_resets: 1,
      first_seen_at: new Date(since),
      counted_since: new Date(replaced),
    });
  });

  it('begins no new count when what had been held makes a device older', async () => {
    await report([moduleOf('n1', { received: 5 })]);
    await report([moduleOf('n1', { received: 8, firstSeenAt: since - 60_000 })]);
    expect(await rowOf('n1')).toMatchObject({ received: 8, count_resets: 0 });
  });

  it('takes over the balance of each source, and counts its new beginnings', async () => {
    const rows = () =>
      fixture.rows('SELECT * FROM board_sources WHERE board_uuid = ? ORDER BY name', [board.uuid]);
    await report([], { sources: [sourceOf(), sourceOf({ name: 'mqtt', kind: 'mqtt', fault: 'no broker' })] });
    expect(await rows()).toMatchObject([
      {
        name: 'field',
        kind: 'coap',
        received: 10,
        stored: 7,
        duplicate: 1,
        rejected: 1,
        waiting: 1,
        fault: null,
      },
      { name: 'mqtt', fault: 'no broker', count_resets: 0 },
    ]);
    await report([], { sources: [sourceOf({ received: 11, waiting: 0, stored: 9 })] });
    await report([], {
      sources: [sourceOf({ received: 1, stored: 1, duplicate: 0, rejected: 0, waiting: 0 })],
    });
    expect(await rows()).toMatchObject([{ received: 1, stored: 1, count_resets: 1 }, { name: 'mqtt' }]);
  });

  it('keeps a bounded number of sources, whatever they are called', async () => {
    const named = (part: number) =>
      Array.from({ length: moduleLimits.sources }, (_, index) => sourceOf({ name: `s${part}-${index}` }));
    for (const part of [1, 2, 3]) await report([], { sources: named(part) });
    await report([]);
    const [row] = await fixture.rows('SELECT COUNT(*) AS n FROM board_sources WHERE board_uuid = ?', [
      board.uuid,
    ]);
    expect(Number(row?.n)).toBe(moduleLimits.sources);
  });

  it('is about the board that calls, and no other', async () => {
    const other = await online();
    await report([moduleOf('mine')]);
    await report([moduleOf('mine', { received: 99 })], {}, other.session);
    expect(await rowOf('mine')).toMatchObject({ received: 7 });
    expect((await report([])).decisions?.map((each) => each.name)).toEqual(['mine', 'system']);
    await expect(report([], { board: other.board.uuid } as object)).rejects.toMatchObject({
      uri: 'wamp.error.invalid_argument',
    });
  });

  it('is refused from a board that is revoked', async () => {
    await fixture.sql.query("UPDATE boards SET status = 'revoked' WHERE uuid = ?", [board.uuid]);
    // The agent may remember the board for two seconds.
    const seen = await until('refused', () =>
      report([]).then(
        () => undefined,
        (error: { uri: string }) => error.uri,
      ),
    );
    expect(seen).toMatch(/board_revoked|canceled|not_authorized/);
  });

  it('is taken so often, and not more', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 130 }, () =>
        report([]).then(
          () => 'ok',
          (error: { uri: string }) => error.uri,
        ),
      ),
    );
    expect(outcomes.filter((each) => each === 'ok')).toHaveLength(120);
    expect(new Set(outcomes)).toEqual(new Set(['ok', 'boardwalk.error.too_many_requests']));
  });

  it.each([
    ['a name with a slash', { modules: [moduleOf('a/b')], sources: [] }],
    ['an unknown state', { modules: [{ ...moduleOf('a'), state: 'maybe' }], sources: [] }],
    ['a count below zero', { modules: [{ ...moduleOf('a'), received: -1 }], sources: [] }],
    ['a count that is no whole number', { modules: [{ ...moduleOf('a'), missed: 1.5 }], sources: [] }],
    ['a time without bounds', { modules: [{ ...moduleOf('a'), lastSeenAt: 1e300 }], sources: [] }],
    ['a name twice', { modules: [moduleOf('a'), moduleOf('a')], sources: [] }],
    ['too many modules', { modules: Array.from({ length: 201 }, (_, i) => moduleOf(`m${i}`)), sources: [] }],
    ['a missing list', { modules: [] }],
    ['an unknown field', { modules: [], sources: [], surprise: 1 }],
    ['a fault that is too long', { modules: [], sources: [sourceOf({ fault: 'x'.repeat(501) })] }],
  ])('is refused by name with %s', async (_what, kwargs) => {
    await expect(session.call(agentUris.reportModules, kwargs)).rejects.toMatchObject({
      uri: 'wamp.error.invalid_argument',
    });
    const rows = await fixture.rows(
      "SELECT name FROM modules WHERE board_uuid = ? AND origin <> 'declared'",
      [board.uuid],
    );
    expect(rows).toEqual([]);
  });

  it('is counted', async () => {
    await report([moduleOf('n1')]);
    const [agent] = fixture.agents;
    const text = await (await fetch(`${agent?.relayUrl}/metrics`)).text();
    expect(text).toMatch(/boardwalk_agent_module_reports_total\{outcome="ok"\} [1-9]/);
    expect(text).toMatch(/boardwalk_agent_modules_found_total\{state="quarantined"\} [1-9]/);
  });
});

describe('a hello', () => {
  const declare = (...names: string[]) =>
    session.call(
      agentUris.hello,
      helloOf({ modules: names.map((name) => ({ name, description: `the ${name}`, streams: [] })) }),
    );
  const listed = async () =>
    (
      await fixture.rows('SELECT name, origin, state FROM modules WHERE board_uuid = ? ORDER BY name', [
        board.uuid,
      ])
    ).map((row) => `${row.name} ${row.origin} ${row.state}`);

  it('leaves discovered and created modules alone', async () => {
    await report([moduleOf('n1')]);
    await fixture.sql.query(
      "INSERT INTO modules (board_uuid, name, tenant_id, origin, created_at, updated_at) VALUES (?, 'n2', ?, 'created', NOW(3), NOW(3))",
      [board.uuid, tenantId],
    );
    await declare('hv');
    expect(await listed()).toEqual([
      'hv declared accepted',
      'n1 discovered quarantined',
      'n2 created accepted',
    ]);
  });

  it('declares a discovered module without overruling who decided about it', async () => {
    await report([moduleOf('n1')]);
    await declare('n1');
    expect(await listed()).toEqual(['n1 declared quarantined']);
    expect(await rowOf('n1')).toMatchObject({ received: 7, description: 'the n1' });
  });

  it('gives back what it no longer declares to those who found or decided about it, else it goes', async () => {
    await declare('heard', 'decided', 'neither');
    await report([moduleOf('heard')]);
    await fixture.sql.query(
      "UPDATE modules SET state = 'rejected', decided_by = 'user:x', decided_at = NOW(3) WHERE board_uuid = ? AND name = 'decided'",
      [board.uuid],
    );
    await declare('other');
    expect(await listed()).toEqual([
      'decided created rejected',
      'heard discovered accepted',
      'other declared accepted',
    ]);
  });

  it('tells the board anew who is let in when its modules changed, and not else', async () => {
    const { version } = await report([]);
    await declare('system');
    await session.call(agentUris.hello, helloOf({ modules: [{ name: 'system', streams: [] }] }));
    expect((await report([], { version })).version).toBe(version);
    await declare('system', 'more');
    const answer = await report([], { version });
    expect(answer.version).not.toBe(version);
    expect(answer.decisions).toContainEqual({ name: 'more', state: 'accepted' });
  });

  it('fills no table by declaring what was discovered and discovering more, over and over', async () => {
    const { perReport, perBoard } = moduleLimits;
    await setPolicy('create', 2 * perBoard);
    for (let from = 0; from < perBoard; from += perReport)
      await report(Array.from({ length: perReport }, (_, index) => moduleOf(`n${from + index}`)));
    for (let round = 0; round < 3; round += 1) {
      const names = Array.from({ length: 200 }, (_, index) => `d${round}-${index}`);
      await declare(...names);
      await report(names.map((name) => moduleOf(name)));
    }
    expect((await listed()).length).toBeLessThanOrEqual(perBoard + 200);
  });

  it('and reports at the same time end in one of the orders', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
    await Promise.all([
      report(names.map((name) => moduleOf(name))),
      declare(...names.slice(0, 10)),
      report(names.map((name) => moduleOf(name, { received: 9 }))),
    ]);
    const rows = await listed();
    expect(rows).toHaveLength(20);
    expect(rows.filter((each) => each.includes(' declared '))).toHaveLength(10);
  });
});

it('the procedure is for boards only', async () => {
  const service = await joinService(fixture, await seedKey(fixture, tenantId));
  const enrolee = await join({
    url: fixture.router.url,
    method: 'ticket',
    authid: enroleeAuthid,
    ticket: await seedCode(fixture, board.uuid),
  });
  for (const each of [service, enrolee])
    await expect(report([], {}, each)).rejects.toMatchObject({ uri: 'wamp.error.not_authorized' });
});
