/** Alarms are raised and cleared by what is stored: soon, once, whoever evaluates and whatever is killed. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Database } from '../../../common/db/database.ts';
import { findEnabledRules } from '../../../common/db/queries/alarm-rules.ts';
import { createMembers } from '../../../conductor/alarms/members.ts';
import { sweepTenant } from '../../../conductor/alarms/sweep.ts';
import { createConsumerMemory } from '../../../wamp-agent/ingest/consumers.ts';
import { createIngest } from '../../../wamp-agent/ingest/ingest.ts';
import { createNewestAt } from '../../../wamp-agent/ingest/newest-at.ts';
import { createMetrics } from '../../../wamp-agent/metrics.ts';
import { until } from '../../harness/until.ts';
import { type AlarmFixture, type AlarmRecord, openAlarmFixture, type TestStream } from './alarms-support.ts';
import { silent } from './support.ts';

let db: AlarmFixture;
let tenant: string;
let board: string;
let temp: TestStream;

beforeAll(async () => {
  db = await openAlarmFixture();
});
afterAll(() => db.close());
let count = 0;
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
/** Nothing that was stored until now waits any more. */
const evaluated = () => until('all is evaluated', async () => (await db.waiting()) === 0);

describe('an alarm', () => {
  it('is raised within a second of the commit, without a wake, and cleared as soon', async () => {
    const rule = await db.rule(tenant, {});
    db.start();
    await temp.now(20);
    await evaluated();
    const delays: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      for (const [value, open] of [
        [120, 1],
        [20, 0],
      ] as const) {
        await temp.now(value);
        const storedAt = performance.now();
        await until(
          'it is there',
          async () =>
            Number(await db.value('SELECT COUNT(*) FROM alarms WHERE rule_id = ? AND open = 1', [rule])) ===
            open,
          { everyMs: 10 },
        );
        delays.push(performance.now() - storedAt);
      }
    }
    expect(Math.max(...delays)).toBeLessThan(1000);
    expect(await db.alarms(rule)).toHaveLength(5);
    expect(await db.changes(rule)).toEqual(Array.from({ length: 5 }, () => ['raised', 'cleared']).flat());
  });

  it('comes of what a wamp-agent stores, a fraction of a second after the acknowledgement', async () => {
    const rule = await db.rule(tenant, { stream: 'lab/level', condition: { above: { threshold: 50 } } });
    const conductor = db.start();
    const newestAt = createNewestAt(db.database, silent);
    await newestAt.refresh();
    const consumers = createConsumerMemory(db.database, silent);
    await consumers.refresh();
    const ingest = createIngest({
      database: db.database,
      newestAt,
      metrics: createMetrics(),
      logger: silent,
      consumersOf: consumers.of,
      // Over HTTP in a running installation.
      onOutbox: () => conductor.wake(),
    });
    try {
      const epoch = randomUUID();
      const delays: number[] = [];
      for (let from = 1; from <= 20; from += 1) {
        const isHigh = from % 2 === 1;
        await ingest.append(
          { uuid: board, tenantId: tenant },
          {
            epoch,
            from,
            streams: [{ name: 'lab/level', type: 'number', unit: 'm' }],
            readings: [[0, Date.now(), isHigh ? 60 : 40]],
          },
        );
        const storedAt = performance.now();
        const open = 'SELECT COUNT(*) FROM alarms WHERE rule_id = ? AND open = 1';
        await until(
          'the alarm is as the level',
          async () => (Number(await db.value(open, [rule])) === 1) === isHigh,
          {
            everyMs: 5,
          },
        );
        delays.push(performance.now() - storedAt);
      }
      expect(Math.max(...delays)).toBeLessThan(1000);
      const inOrder = delays.sort((left, right) => left - right);
      expect(inOrder[10]).toBeLessThan(500);
      expect(await db.alarms(rule)).toHaveLength(10);
    } finally {
      await ingest.stop();
      await consumers.stop();
    }
  });

  it('has its values, its peak and its evidence', async () => {
    const rule = await db.rule(tenant, { stream: 'sens*/temp', severity: 'critical' });
    db.start();
    const at = Date.now() - 5000;
    await temp.add([at, 20], [at + 1000, 110]);
    await untilStates(rule, ['raised']);
    await temp.add([at + 2000, 140], [at + 3000, 120]);
    await evaluated();
    await temp.add([at + 4000, 90]);
    await untilStates(rule, ['cleared']);
    expect((await db.alarms(rule))[0]).toMatchObject({
      stream: 'sensor/temp',
      board_uuid: board,
      severity: 'critical',
      since: at + 1000,
      raised_number: 110,
      peak: 140,
      peak_at: at + 2000,
      cleared_number: 90,
      clear_reason: 'condition',
      open: null,
      evidence: {
        raised: { by: 'reading', reading: { at: new Date(at + 1000).toISOString(), value: 110 } },
        cleared: { by: 'reading', reading: { value: 90 } },
      },
    });
  });

  it('that is open gives way to the next one, when both changes come in one batch', async () => {
    const rule = await db.rule(tenant, {});
    db.start();
    const at = Date.now() - 5000;
    await temp.add([at, 120]);
    await untilStates(rule, ['raised']);
    await temp.add([at + 1000, 20], [at + 2000, 130]);
    await untilStates(rule, ['cleared', 'raised']);
    expect(await db.changes(rule)).toEqual(['raised', 'cleared', 'raised']);
  });

  it('is one while a value trembles within the hysteresis', async () => {
    const rule = await db.rule(tenant, { hysteresis: 5 });
    db.start();
    const at = Date.now() - 60_000;
    for (let index = 0; index < 40; index += 1)
      await temp.add([at + index * 1000, index % 2 === 0 ? 101 : 97]);
    await evaluated();
    expect(await states(rule)).toEqual(['raised']);
  });

  it.each<[string, object, string, 'number' | 'boolean' | 'text', (number | boolean | string)[]]>([
    ['below', { below: { threshold: 5 } }, 'm/a', 'number', [6, 4]],
    ['outside', { outside: { low: 1, high: 2 } }, 'm/b', 'number', [1.5, 3]],
    ['rate', { rate: { perSecond: 3 } }, 'm/c', 'number', [0, 5]],
    ['equals', { equals: { value: 'fault' } }, 'm/d', 'text', ['ok', 'fault']],
    ['equals', { equals: { value: true } }, 'm/e', 'boolean', [false, true]],
  ])('is raised by %s %j', async (_name, condition, stream, type, values) => {
    const rule = await db.rule(tenant, { condition, stream });
    const measured = await db.stream(board, stream, type);
    db.start();
    const at = Date.now() - 5000;
    await measured.add(...values.map((value, index): [number, typeof value] => [at + index * 1000, value]));
    await untilStates(rule, ['raised']);
  });
});

describe('durations', () => {
  it('come due by the clock within a second when nothing newer comes', async () => {
    const rule = await db.rule(tenant, { forSeconds: 2 });
    db.start();
    const at = Date.now();
    await temp.add([at, 120]);
    await evaluated();
    expect(await states(rule)).toEqual([]);
    await untilStates(rule, ['raised']);
    const delay = Date.now() - (at + 2000);
    expect(delay).toBeGreaterThan(-50);
    expect(delay).toBeLessThan(1000);
    expect((await db.alarms(rule))[0]).toMatchObject({ since: at, evidence: { raised: { by: 'time' } } });
  });

  it('go on after a restart in between', async () => {
    const rule = await db.rule(tenant, { forSeconds: 2 });
    const first = db.start();
    await temp.now(120);
    await evaluated();
    await first.stop();
    expect((await db.states(rule))[0]).toMatchObject({ phase: 'pending' });
    db.start();
    await untilStates(rule, ['raised']);
  });
});

describe('late readings', () => {
  it('of a backlog raise nothing that is over, and clear nothing that still is', async () => {
    const rule = await db.rule(tenant, { forSeconds: 5 });
    db.start();
    const now = Date.now();
    await temp.add([now, 20]);
    await evaluated();
    await temp.add(
      ...Array.from({ length: 60 }, (_, index): [number, number] => [now - 3_600_000 + index * 1000, 150]),
    );
    await evaluated();
    expect(await states(rule)).toEqual([]);
    await temp.add([now + 1000, 120], [now + 6000, 120]);
    await untilStates(rule, ['raised']);
    await temp.add([now - 1000, 20], [now + 3000, 20]);
    await evaluated();
    expect(await states(rule)).toEqual(['raised']);
  });

  it('that break what is pending are found in what is stored', async () => {
    const rule = await db.rule(tenant, { forSeconds: 60 });
    db.start();
    const at = Date.now() - 50_000;
    await temp.add([at, 120], [at + 40_000, 120]);
    await evaluated();
    await temp.add([at + 20_000, 50]);
    await until('it begins later', async () => {
      const [state] = await db.all<{ since: number }>('SELECT since FROM alarm_states WHERE rule_id = ?', [
        rule,
      ]);
      return state?.since === at + 40_000;
    });
    await temp.add([at + 62_000, 120]);
    await evaluated();
    expect(await states(rule)).toEqual([]);
    // A reading that fills the gap from before makes it long enough.
    const other = await db.rule(tenant, { forSeconds: 30, stream: 'sensor/other' });
    const stream = await db.stream(board, 'sensor/other');
    await stream.add([at + 40_000, 120]);
    await evaluated();
    await stream.add([at + 8_000, 120]);
    await untilStates(other, ['raised']);
    expect((await db.alarms(other))[0]).toMatchObject({
      since: at + 8000,
      evidence: { raised: { by: 'late-reading' } },
    });
  });
});

describe('several conductors', () => {
  it('evaluate each reading once, while others are killed in the middle of transactions', async () => {
    const rule = await db.rule(tenant, {});
    /** Breaks off some transactions before their commit, as a kill does. */
    const broken = (database: Database): Database => ({
      ...database,
      transaction: (work, options) =>
        database.transaction(async (manager: EntityManager) => {
          const result = await work(manager);
          if (Math.random() < 0.3) throw new Error('killed');
          return result;
        }, options),
    });
    for (let index = 0; index < 3; index += 1) db.start({ wrap: broken, lookEveryMs: 20 });
    const at = Date.now() - 100_000;
    for (let index = 0; index < 80; index += 1)
      await temp.add([at + index * 1000, index % 4 < 2 ? 120 + index : 20]);
    await evaluated();
    const alarms = await db.alarms(rule);
    expect(alarms.map(({ state, since }) => [state, since])).toEqual(
      Array.from({ length: 20 }, (_, index) => ['cleared', at + index * 4000]),
    );
    expect(await db.changes(rule)).toEqual(Array.from({ length: 20 }, () => ['raised', 'cleared']).flat());
  });

  it('have one open alarm per rule and stream, as a key of the database', async () => {
    const rule = await db.rule(tenant, {});
    db.start();
    await temp.now(120);
    await untilStates(rule, ['raised']);
    const [row] = await db.all<AlarmRecord>('SELECT * FROM alarms WHERE rule_id = ?', [rule]);
    const twin = { ...row, id: '00000000-0000-4000-8000-000000000000', evidence: '{}' };
    await expect(db.connection.query('INSERT INTO alarms SET ?', [twin])).rejects.toThrow(/uq_alarms_open/);
  });
});

describe('sweeps', () => {
  it('are done by one conductor each minute, and by each after a change of rules', async () => {
    await db.rule(tenant, {});
    const transactions = async () => {
      let count = 0;
      await sweepTenant(tenant, {
        write(work) {
          count += 1;
          return db.database.transaction(work);
        },
        quotas: {},
        onWritten: () => undefined,
        check: () => undefined,
      });
      return count;
    };
    expect(await transactions()).toBeGreaterThan(1);
    expect(await transactions()).toBe(1);
    await db.connection.query('UPDATE alarm_rule_sets SET swept_at = swept_at - INTERVAL 2 MINUTE');
    expect(await transactions()).toBeGreaterThan(1);
    expect(await transactions()).toBe(1);
    await db.rule(tenant, {});
    expect(await transactions()).toBeGreaterThan(1);
  });
});

describe('members of a target', () => {
  it('are remembered for ten seconds, and asked for once for rules with the same target', async () => {
    let now = 0;
    let asked = 0;
    const members = createMembers(() => now);
    const label = { board_uuid: board, tenant_id: tenant, label_key: 'site', label_value: 'a' };
    await db.connection.query('INSERT INTO board_labels SET ?', [label]);
    const ids = [
      await db.rule(tenant, { target: { selector: 'site=a' } }),
      await db.rule(tenant, { target: { selector: 'site=a' } }),
    ];
    const rules = await db.database.read((manager) => findEnabledRules(manager, tenant));
    const find = () =>
      db.database.read(async (manager) => {
        const counting = Object.assign(Object.create(manager) as EntityManager, {
          query: (sql: string, values: unknown[]) => {
            asked += 1;
            return manager.query(sql, values);
          },
        });
        const found = await members.find(counting, rules, [board]);
        return ids.map((id) => found.get(id)?.has(board));
      });
    expect(await find()).toEqual([true, true]);
    await db.connection.query('DELETE FROM board_labels WHERE board_uuid = ?', [board]);
    now = 9999;
    expect(await find()).toEqual([true, true]);
    expect(asked).toBe(1);
    now = 10_000;
    expect(await find()).toEqual([false, false]);
  });
});

describe('silence', () => {
  it('raises an alarm within a second of its time, and the next reading clears it', async () => {
    const rule = await db.rule(tenant, { condition: { noData: {} }, forSeconds: 2 });
    db.start();
    const at = Date.now();
    await temp.add([at, 1]);
    await untilStates(rule, ['raised']);
    const delay = Date.now() - (at + 2000);
    expect(delay).toBeGreaterThan(-50);
    expect(delay).toBeLessThan(1000);
    await temp.add([at - 10_000, 1]);
    await evaluated();
    expect(await states(rule)).toEqual(['raised']);
    await temp.now(2);
    await untilStates(rule, ['cleared']);
  });

  it('is seen on streams that were silent before the rule was made', async () => {
    await temp.add([Date.now() - 60_000, 1]);
    const unheard = await db.stream(board, 'sensor/never');
    const fresh = await db.stream(board, 'sensor/fresh');
    await fresh.now(1);
    const rule = await db.rule(tenant, { condition: { noData: {} }, forSeconds: 30, stream: '*/*' });
    db.start();
    await untilStates(rule, ['raised']);
    expect((await db.alarms(rule))[0]).toMatchObject({ stream: 'sensor/temp' });
    expect(await db.states(rule)).toHaveLength(3);
    expect(unheard.id).toBeGreaterThan(0);
  });
});

describe('a rule', () => {
  it('that is deleted, disabled or changed clears what it raised, with the reason', async () => {
    const make = () => db.rule(tenant, {});
    const rules = [await make(), await make(), await make()] as [string, string, string];
    db.start();
    await temp.now(120);
    for (const rule of rules) await untilStates(rule, ['raised']);
    const [deleted, disabled, changed] = rules;
    await db.changeRule(tenant, 'DELETE FROM alarm_rules WHERE id = ?', [deleted]);
    await db.changeRule(tenant, 'UPDATE alarm_rules SET enabled = 0 WHERE id = ?', [disabled]);
    await db.changeRule(tenant, 'UPDATE alarm_rules SET for_seconds = 1, revision = 2 WHERE id = ?', [
      changed,
    ]);
    for (const [rule, reason] of [
      [deleted, 'rule-deleted'],
      [disabled, 'rule-disabled'],
      [changed, 'rule-changed'],
    ] as const) {
      await untilStates(rule, ['cleared']);
      expect((await db.alarms(rule))[0]).toMatchObject({ clear_reason: reason });
      await until('nothing is watched any more', async () => (await db.states(rule)).length === 0);
      expect(await db.changes(rule)).toEqual(['raised', 'cleared']);
    }
    await temp.now(130);
    await temp.add([Date.now() + 1500, 130]);
    await untilStates(changed, ['cleared', 'raised']);
    expect(await states(deleted)).toEqual(['cleared']);
  });

  it('watches the boards of its target only, and never those of another tenant', async () => {
    const other = await db.rows.tenant();
    const theirs = await db.rows.board(other, 'theirs');
    const label = (uuid: string, tenantId: string) =>
      db.connection.query('INSERT INTO board_labels SET ?', [
        { board_uuid: uuid, tenant_id: tenantId, label_key: 'site', label_value: 'a' },
      ]);
    const labelled = await db.rows.board(tenant, 'labelled');
    await label(labelled, tenant);
    await label(theirs, other);
    const bySelector = await db.rule(tenant, { target: { selector: 'site=a' } });
    const byName = await db.rule(tenant, { target: { boards: [labelled, theirs] } });
    const all = await db.rule(tenant, {});
    db.start();
    await (await db.stream(theirs)).now(120);
    await temp.now(120);
    await (await db.stream(labelled)).now(120);
    await untilStates(all, ['raised', 'raised']);
    await evaluated();
    for (const rule of [bySelector, byName])
      expect((await db.alarms(rule)).map(({ board_uuid }) => board_uuid)).toEqual([labelled]);
    expect(await db.value('SELECT COUNT(*) FROM alarms WHERE board_uuid = ?', [theirs])).toBe(0);
  });

  it('clears what it raised of boards that have left its target or were deleted', async () => {
    const gone = await db.rows.board(tenant, 'gone');
    const rule = await db.rule(tenant, { target: { boards: [board, gone] } });
    db.start();
    await temp.now(120);
    await (await db.stream(gone)).now(120);
    await untilStates(rule, ['raised', 'raised']);
    await temp.now(150);
    await evaluated();
    await db.connection.query('DELETE FROM boards WHERE uuid = ?', [gone]);
    const target = JSON.stringify({ boards: [gone] });
    await db.connection.query('UPDATE alarm_rules SET target = ? WHERE id = ?', [target, rule]);
    // The next sweep, which is a minute away.
    await db.connection.query('UPDATE alarm_rule_sets SET swept_at = swept_at - INTERVAL 1 HOUR');
    await untilStates(rule, ['cleared', 'cleared']);
    expect((await db.alarms(rule)).map(({ clear_reason }) => clear_reason).sort()).toEqual([
      'board-deleted',
      'out-of-target',
    ]);
    expect((await db.alarms(rule)).map(({ peak }) => peak).sort()).toEqual([120, 150]);
    expect(await db.states(rule)).toEqual([]);
  });

  it('that is enabled again while its alarms are being cleared is watched from new', async () => {
    const rule = await db.rule(tenant, {});
    const enable = (enabled: 0 | 1) =>
      db.changeRule(tenant, 'UPDATE alarm_rules SET enabled = ? WHERE id = ?', [enabled, rule]);
    const first = db.start();
    await temp.now(120);
    await untilStates(rule, ['raised']);
    await first.stop();
    await enable(0);
    let enabling: Promise<void> | undefined;
    /** Somebody is faster than the sweep's next step. */
    const between = (database: Database): Database => ({
      ...database,
      async transaction(work, options) {
        const result = await database.transaction(work, options);
        if ((await states(rule)).join() === 'cleared') {
          enabling ??= enable(1);
          await enabling;
        }
        return result;
      },
    });
    db.start({ wrap: between });
    await until('it is enabled again', async () => (await enabling) ?? enabling !== undefined);
    await temp.now(130);
    await untilStates(rule, ['cleared', 'raised']);
  });

  it('of one tenant that takes long to be swept keeps no other tenant waiting', async () => {
    const rule = await db.rule(tenant, {});
    const slow = await db.rows.tenant();
    await db.rule(slow, {});
    const other = await db.db.connect();
    try {
      await other.beginTransaction();
      await other.query('SELECT * FROM alarm_rule_sets WHERE tenant_id = ? FOR UPDATE', [slow]);
      db.start();
      await temp.now(120);
      const storedAt = performance.now();
      await untilStates(rule, ['raised']);
      expect(performance.now() - storedAt).toBeLessThan(2000);
    } finally {
      await other.rollback();
      await other.end();
    }
  });

  it('sees nothing that was stored before it was made', async () => {
    await temp.now(150);
    const rule = await db.rule(tenant, {});
    db.start();
    await temp.now(20);
    await evaluated();
    expect(await states(rule)).toEqual([]);
  });
});
