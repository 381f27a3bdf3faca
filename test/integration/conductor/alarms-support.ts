/** Alarm rules on a real database: readings are stored as wamp-agents do, and evaluations run in this process. */

import { parseRule, type RuleInput } from '../../../api/alarm-rules/rule-request.ts';
import { insertRule } from '../../../api/alarm-rules/rule-rows.ts';
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { beginRuleChange, endRuleChange } from '../../../common/db/queries/alarm-rules.ts';
import type { QuotaLimits } from '../../../common/db/quota-limits.ts';
import type { ReadingValue, StreamDeclaration } from '../../../common/wamp/readings.ts';
import { type Alarms, startAlarms } from '../../../conductor/alarms/alarms.ts';
import { createOutboxFeed } from '../../../conductor/alarms/outbox-feed.ts';
import { openSpool } from '../readings-query-support.ts';
import { openConductorDatabase, silent } from './support.ts';

export interface AlarmRecord {
  id: string;
  state: string;
  stream: string | null;
  board_uuid: string;
  since: number;
  raised_number: number | null;
  raised_at: Date;
  peak: number | null;
  clear_reason: string | null;
  cleared_number: number | null;
  operation_id: string | null;
  action_error: string | null;
  evidence: { raised: { by: string; reading: { at: string; value: number } | null } };
}

export interface TestStream {
  id: number;
  /** At those times, epoch milliseconds. */
  add(...readings: [at: number, value: ReadingValue][]): Promise<void>;
  /** Now. */
  now(value: ReadingValue): Promise<void>;
}

export type AlarmFixture = Awaited<ReturnType<typeof openAlarmFixture>>;

export async function openAlarmFixture() {
  const db = await openConductorDatabase();
  const running: { alarms: Alarms; database: Database }[] = [];
  let count = 0;

  async function rows<T>(sql: string, values: unknown[] = []): Promise<T[]> {
    const [found] = await db.connection.query(sql, values);
    return found as T[];
  }

  return {
    ...db,
    all: rows,

    /** @param author a manager of the tenant when left out */
    async rule(tenantId: string, input: Partial<RuleInput>, author?: string): Promise<string> {
      count += 1;
      const createdBy = author ?? (await db.rows.author(tenantId));
      const values = parseRule({
        name: `rule-${count}`,
        stream: 'sensor/temp',
        condition: { above: { threshold: 100 } },
        ...input,
      });
      return db.database.transaction(async (manager) => {
        await beginRuleChange(manager, tenantId);
        const id = await insertRule(manager, tenantId, values, createdBy);
        await endRuleChange(manager, tenantId);
        return id;
      });
    },

    async changeRule(tenantId: string, sql: string, values: unknown[]): Promise<void> {
      await db.database.transaction(async (manager) => {
        await beginRuleChange(manager, tenantId);
        await manager.query(sql, values);
        await endRuleChange(manager, tenantId);
      });
    },

    async stream(
      boardUuid: string,
      name = 'sensor/temp',
      type: StreamDeclaration['type'] = 'number',
    ): Promise<TestStream> {
      const spool = await openSpool(db.database, db.connection, boardUuid, [{ name, type, unit: '' }]);
      const add = (...readings: [number, ReadingValue][]) =>
        spool.append(readings.map(([at, value]) => [0, at, value]));
      return { id: spool.ids[0] as number, add, now: (value) => add([Date.now(), value]) };
    },

    /** A conductor's part, with a pool of its own. */
    start(
      options: { quotas?: QuotaLimits; lookEveryMs?: number; wrap?: (database: Database) => Database } = {},
    ) {
      const own = createDatabase({ url: db.url, logger: silent });
      const woken: string[] = [];
      const alarms = startAlarms({
        database: options.wrap?.(own) ?? own,
        logger: silent,
        feed: createOutboxFeed(),
        quotas: options.quotas ?? {},
        onBoards: (boards) => void woken.push(...boards),
        ...(options.lookEveryMs !== undefined && { lookEveryMs: options.lookEveryMs }),
      });
      const entry = { alarms, database: own };
      running.push(entry);
      return {
        woken,
        wake: alarms.wake,
        async stop() {
          running.splice(running.indexOf(entry), 1);
          await alarms.stop();
          await own.close();
        },
      };
    },

    alarms: (ruleId: string) =>
      rows<AlarmRecord>('SELECT * FROM alarms WHERE rule_id = ? ORDER BY since, id', [ruleId]),
    states: (ruleId: string) =>
      rows<{ phase: string; due_at: Date | null; board_uuid: string }>(
        'SELECT * FROM alarm_states WHERE rule_id = ?',
        [ruleId],
      ),
    /** What events told of the rule's alarms, in their order. */
    async changes(ruleId: string): Promise<string[]> {
      const found = await rows<{ payload: { rule: string; change: string } }>(
        "SELECT payload FROM events WHERE type = 'alarm' ORDER BY id",
      );
      return found.filter(({ payload }) => payload.rule === ruleId).map(({ payload }) => payload.change);
    },
    /** Deliveries that wait for the rules of any tenant. */
    async waiting(): Promise<number> {
      return Number(
        await db.value(
          `SELECT COUNT(*) FROM outbox_deliveries d JOIN reading_consumers c ON c.id = d.consumer_id AND c.kind = 'alarms'`,
        ),
      );
    },

    async stopAll() {
      for (const { alarms, database } of running.splice(0)) {
        await alarms.stop();
        await database.close();
      }
    },
    async close() {
      await this.stopAll();
      await db.close();
    },
  };
}
