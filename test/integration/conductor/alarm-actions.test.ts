/** Boards that are offline, and operations that alarms start: once, in the transaction that raises the alarm. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '../../../common/db/database.ts';
import { appendEvents } from '../../../common/db/queries/events.ts';
import { endSessions, openSession } from '../../../common/db/queries/presence.ts';
import { evaluateTenant } from '../../../conductor/alarms/evaluate.ts';
import { createMembers } from '../../../conductor/alarms/members.ts';
import { createOutboxFeed } from '../../../conductor/alarms/outbox-feed.ts';
import { createRuleMemory } from '../../../conductor/alarms/rule-memory.ts';
import { until } from '../../harness/until.ts';
import { type AlarmFixture, openAlarmFixture, type TestStream } from './alarms-support.ts';

let db: AlarmFixture;
let tenant: string;
let board: string;
let temp: TestStream;
let count = 0;

beforeAll(async () => {
  db = await openAlarmFixture();
});
afterAll(() => db.close());
beforeEach(async () => {
  count += 1;
  tenant = await db.rows.tenant();
  board = await db.rows.board(tenant, `gw-${count}`);
  temp = await db.stream(board);
});
afterEach(() => db.stopAll());

const states = async (rule: string) => (await db.alarms(rule)).map(({ state }) => state);
const untilStates = (rule: string, expected: string[]) =>
  until(
    `the alarms are ${expected.join()}`,
    async () => (await states(rule)).join() === expected.join() || undefined,
  );

describe('a board that is offline', () => {
  let wampSession = 0;
  const online = () =>
    db.database.transaction(async (manager) => {
      wampSession += 1;
      const opened = await openSession(manager, {
        boardUuid: board,
        cell: 'default',
        agentId: randomUUID(),
        wampSession,
        bootId: 'boot',
        agentVersion: '1',
        connectivity: {} as never,
        heartbeatIntervalMs: 10_000,
        remoteAddress: undefined,
      });
      await appendEvents(manager, opened.events);
      return opened.sessionId;
    });
  const offline = (id: string) =>
    db.database.transaction(async (manager) => {
      const { events } = await endSessions(manager, [{ id, boardUuid: board }], 'left');
      await appendEvents(manager, events);
    });

  it('raises an alarm when it has been so for long enough, and its return clears it', async () => {
    const rule = await db.rule(tenant, { condition: { boardOffline: {} }, stream: null, forSeconds: 2 });
    db.start();
    const session = await online();
    await until('the rules were swept', () =>
      db.value('SELECT swept_version FROM alarm_rule_sets WHERE tenant_id = ?', [tenant]),
    );
    const at = Date.now();
    await offline(session);
    await untilStates(rule, ['raised']);
    const delay = Date.now() - (at + 2000);
    expect(delay).toBeGreaterThan(-50);
    expect(delay).toBeLessThan(1000);
    const [alarm] = await db.alarms(rule);
    expect(alarm).toMatchObject({
      stream: null,
      board_uuid: board,
      evidence: { raised: { by: 'presence' } },
    });
    expect(Math.abs((alarm?.since ?? 0) - at)).toBeLessThan(500);
    await online();
    await untilStates(rule, ['cleared']);
    expect(await db.states(rule)).toEqual([]);
    expect(await db.changes(rule)).toEqual(['raised', 'cleared']);
  });

  it('raises nothing when it is back in time', async () => {
    const rule = await db.rule(tenant, { condition: { boardOffline: {} }, stream: null, forSeconds: 2 });
    db.start();
    const session = await online();
    await until('the rules were swept', () =>
      db.value('SELECT swept_version FROM alarm_rule_sets WHERE tenant_id = ?', [tenant]),
    );
    await offline(session);
    await until('it is pending', async () => (await db.states(rule))[0]?.phase === 'pending');
    await online();
    await until('it is forgotten', async () => (await db.states(rule)).length === 0);
    expect(await states(rule)).toEqual([]);
  });

  it('is seen of more boards than are looked at together', async () => {
    const rule = await db.rule(tenant, { condition: { boardOffline: {} }, stream: null, forSeconds: 300 });
    await db.connection.query(
      'UPDATE alarm_rule_sets SET swept_version = version, swept_at = UTC_TIMESTAMP(3) WHERE tenant_id = ?',
      [tenant],
    );
    const boards = await Promise.all(
      Array.from({ length: 600 }, (_, index) =>
        db.rows.board(tenant, `many-${index}`, { status: 'offline' }),
      ),
    );
    const parts = {
      feed: createOutboxFeed(),
      rules: createRuleMemory(),
      members: createMembers(),
      quotas: {},
    };
    const evaluate = () =>
      db.database.transaction((manager) => evaluateTenant(manager, tenant, parts, boards));
    expect((await evaluate()).isDone).toBe(false);
    expect((await evaluate()).isDone).toBe(true);
    expect(await db.states(rule)).toHaveLength(600);
  });

  it('is found when it was so before the rule was made, and by conductors that were not there', async () => {
    await offline(await online());
    await db.connection.query('DELETE FROM events');
    await db.connection.query(
      'UPDATE board_sessions SET ended_at = ended_at - INTERVAL 1 HOUR WHERE board_uuid = ?',
      [board],
    );
    const rule = await db.rule(tenant, { condition: { boardOffline: {} }, stream: null, forSeconds: 300 });
    db.start();
    await untilStates(rule, ['raised']);
  });
});

const contract = (name: string) => ({
  name,
  safety: 'idempotent',
  kwargs: {
    type: 'object',
    properties: { channel: { type: 'integer' }, on: { type: 'boolean' } },
    required: ['channel'],
  },
});

async function offer(boardUuid: string, procedure: string): Promise<void> {
  await db.connection.query('UPDATE boards SET contracts_hash = ? WHERE uuid = ?', [
    randomUUID().replaceAll('-', ''),
    boardUuid,
  ]);
  await db.connection.query('INSERT INTO procedure_contracts SET ?', [
    { board_uuid: boardUuid, name: procedure, contract: JSON.stringify(contract(procedure)) },
  ]);
}

const operations = () =>
  db.all<{
    id: string;
    created_by: string;
    kwargs: object;
    procedure_name: string;
    deadline_at: Date;
    created_at: Date;
  }>('SELECT * FROM operations WHERE tenant_id = ? ORDER BY id', [tenant]);
const hvOff = { procedure: 'hv.switch', kwargs: { channel: 3, on: false } };

describe('an interlock', () => {
  it('switches off on another board with the alarm: one operation, its board is woken, and all is on record', async () => {
    const hv = await db.rows.board(tenant, 'hv');
    await offer(hv, 'hv.switch');
    const author = await db.rows.author(tenant);
    const rule = await db.rule(tenant, { action: { ...hvOff, board: hv, deadlineSeconds: 30 } }, author);
    const conductor = db.start();
    await temp.now(120);
    await untilStates(rule, ['raised']);
    const [operation, ...more] = await operations();
    expect(more).toEqual([]);
    expect(operation).toMatchObject({
      procedure_name: 'hv.switch',
      kwargs: hvOff.kwargs,
      created_by: `alarm-rule:${rule}`,
      state: 'active',
      target_count: 1,
    });
    expect(
      await db.all('SELECT board_uuid, state FROM operation_targets WHERE operation_id = ?', [operation?.id]),
    ).toEqual([{ board_uuid: hv, state: 'queued' }]);
    const [alarm] = await db.alarms(rule);
    expect(alarm).toMatchObject({ operation_id: operation?.id, action_error: null });
    const [event] = await db.all<{ evidence: object }>(
      "SELECT evidence FROM operation_events WHERE operation_id = ? AND kind = 'created'",
      [operation?.id],
    );
    expect(event?.evidence).toMatchObject({ alarm: alarm?.id, rule, author });
    await until('the board is woken', () => conductor.woken.includes(hv));
    await temp.now(20);
    await untilStates(rule, ['cleared']);
    expect(await operations()).toHaveLength(1);
  });

  it('is done once per alarm, however often transactions are broken off and by whom', async () => {
    await offer(board, 'hv.switch');
    const rule = await db.rule(tenant, { action: hvOff });
    const broken = (database: Database): Database => ({
      ...database,
      transaction: (work, options) =>
        database.transaction(async (manager: EntityManager) => {
          const result = await work(manager);
          if (Math.random() < 0.4) throw new Error('killed');
          return result;
        }, options),
    });
    for (let index = 0; index < 3; index += 1) db.start({ wrap: broken, lookEveryMs: 20 });
    const at = Date.now() - 60_000;
    for (let index = 0; index < 10; index += 1) {
      await temp.add([at + index * 2000, 120]);
      await temp.add([at + index * 2000 + 1000, 20]);
      await until('it is evaluated', async () => (await db.waiting()) === 0);
    }
    const made = await operations();
    const alarms = await db.alarms(rule);
    expect(alarms.map(({ state }) => state)).toEqual(Array.from({ length: 10 }, () => 'cleared'));
    expect(new Set(alarms.map(({ operation_id }) => operation_id)).size).toBe(made.length);
    expect(made.map(({ id }) => id).sort()).toEqual(
      [...new Set(alarms.map(({ operation_id }) => operation_id))].sort(),
    );
  });

  it('may come with the clearing instead', async () => {
    await offer(board, 'hv.switch');
    const rule = await db.rule(tenant, { action: { ...hvOff, on: 'clear' } });
    db.start();
    await temp.now(120);
    await untilStates(rule, ['raised']);
    expect(await operations()).toEqual([]);
    await temp.now(20);
    await untilStates(rule, ['cleared']);
    expect(await operations()).toHaveLength(1);
  });

  it('that cannot be made is said on the alarm, which is raised nevertheless', async () => {
    await offer(board, 'lv.switch');
    const rule = await db.rule(tenant, { action: hvOff });
    const full = await db.rule(tenant, { action: { ...hvOff, procedure: 'lv.switch' } });
    db.start({ quotas: { operationsPerDay: 0 } });
    await temp.now(120);
    await untilStates(rule, ['raised']);
    await untilStates(full, ['raised']);
    expect((await db.alarms(rule))[0]).toMatchObject({ operation_id: null });
    expect((await db.alarms(full))[0]?.action_error).toMatch(/^too-many-requests: /);
    expect(await operations()).toEqual([]);
    expect(
      await db.value('SELECT COALESCE(SUM(operations), 0) FROM tenant_usage WHERE tenant_id = ?', [tenant]),
    ).toBe('0');
  });

  it('whose author may not any more is not made; the alarm, its event and the audit say so, and it is there', async () => {
    await offer(board, 'hv.switch');
    const author = await db.rows.author(tenant);
    const { id: key } = await db.rows.key(tenant);
    const byUser = await db.rule(tenant, { action: hvOff }, author);
    const byKey = await db.rule(tenant, { action: hvOff }, `key:${key}`);
    const byNobody = await db.rule(tenant, { action: hvOff }, 'test');
    await db.connection.query("UPDATE memberships SET role = 'user_iot' WHERE tenant_id = ?", [tenant]);
    await db.connection.query('UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = ?', [key]);
    db.start();
    await temp.now(120);
    for (const [rule, reason] of [
      [byUser, /^forbidden: the role of its author user:\S+ is user_iot/],
      [byKey, /^forbidden: its author key:\S+ was revoked/],
      [byNobody, /^forbidden: nobody answers for it/],
    ] as const) {
      await untilStates(rule, ['raised']);
      const [alarm] = await db.alarms(rule);
      expect(alarm).toMatchObject({ operation_id: null, action_error: expect.stringMatching(reason) });
      expect(
        await db.all("SELECT * FROM audit_events WHERE action = 'start-alarm-action' AND target = ?", [rule]),
      ).toMatchObject([
        {
          tenant_id: tenant,
          actor_kind: 'process',
          target_kind: 'alarm-rule',
          result: 'forbidden',
          detail: { alarm: alarm?.id },
        },
      ]);
      const events = await db.all<{ payload: { rule: string; actionError?: string } }>(
        "SELECT payload FROM events WHERE tenant_id = ? AND type = 'alarm'",
        [tenant],
      );
      const [event] = events.filter(({ payload }) => payload.rule === rule);
      expect(event?.payload.actionError).toMatch(reason);
    }
    expect(await operations()).toEqual([]);
    // Another one answers for it: the next alarm does what it should.
    await temp.now(20);
    await untilStates(byUser, ['cleared']);
    const other = await db.rows.author(tenant);
    await db.changeRule(tenant, 'UPDATE alarm_rules SET author = ? WHERE id = ?', [other, byUser]);
    await temp.now(130);
    await untilStates(byUser, ['cleared', 'raised']);
    expect(await operations()).toHaveLength(1);
    expect((await db.alarms(byUser)).at(-1)).toMatchObject({ action_error: null });
  });

  it('is checked against the contract of the day', async () => {
    await offer(board, 'lv.switch');
    const rule = await db.rule(tenant, { action: hvOff });
    db.start();
    await temp.now(120);
    await untilStates(rule, ['raised']);
    expect((await db.alarms(rule))[0]?.action_error).toMatch(/^procedure-not-found: /);
  });
});
