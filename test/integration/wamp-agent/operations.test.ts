/** What boards say of operations, with agents, router and database as they are. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../../../common/db/database.ts';
import type { JsonObject } from '../../../common/runtime/guards.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { scheduledOperationId } from '../../../common/wamp/board-schedules.ts';
import type { OperationReport } from '../../../common/wamp/operations.ts';
import { agentUris, boardProcedureUri } from '../../../common/wamp/uris.ts';
import { createReportWriter } from '../../../wamp-agent/operations/write-reports.ts';
import { until } from '../../harness/until.ts';
import { answerJson, type FakeRelay, startFakeRelay } from '../../unit/relay/fake-relay.ts';
import {
  type Fixture,
  greet,
  helloOf,
  joinBoard,
  joinService,
  type SeededBoard,
  seedBoard,
  seedKey,
  seedTenant,
  startFixture,
} from './fixture.ts';
import { goOnline, journalEpoch, kindsOf, operationOf, seedOperation, targetOf } from './operation-rows.ts';
import type { RawSession } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;
let board: SeededBoard;
let session: RawSession;
let conductor: FakeRelay;

beforeAll(async () => {
  fixture = await startFixture(2);
  tenantId = await seedTenant(fixture);
  board = await seedBoard(fixture, tenantId);
  session = await goOnline(fixture, board);
  conductor = await startFakeRelay(randomUUID(), (_request, response) => answerJson(response, 202, {}));
  await fixture.sql.query(
    `INSERT INTO conductors (id, url, started_at, heartbeat_at)
     VALUES (?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 DAY)`,
    [conductor.agent.id, conductor.agent.relayUrl],
  );
});
afterAll(async () => {
  await session?.leave();
  await fixture?.stop();
  await conductor?.stop();
});
afterEach(() => {
  conductor.received.length = 0;
});

async function report(
  reports: (Partial<OperationReport> & { operationId: string })[],
  from = session,
): Promise<unknown> {
  const answer = (await from.call(agentUris.operationResult, {
    journalEpoch,
    reports: reports.map((each) => ({ attempt: 1, state: 'succeeded', ...each })),
  })) as { acknowledged: string[] };
  return answer.acknowledged;
}

const jsonOf = (value: unknown) => (typeof value === 'string' ? JSON.parse(value) : value) as JsonObject;

describe('an outcome', () => {
  it('ends target and operation with its evidence, before it is acknowledged', async () => {
    const operationId = await seedOperation(fixture, [board]);
    const startedAt = Date.now() - 50;
    expect(await report([{ operationId, result: { level: 1 }, startedAt, runs: 1 }])).toEqual([operationId]);
    const target = await targetOf(fixture, operationId, board.uuid);
    expect(target).toMatchObject({
      state: 'succeeded',
      queue: null,
      journal_epoch: journalEpoch,
      version: 2,
    });
    expect(jsonOf(target?.result)).toEqual({ level: 1 });
    expect(target?.ended_at).toBeInstanceOf(Date);
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'succeeded' });
    expect(await kindsOf(fixture, operationId)).toEqual(['succeeded', '*succeeded']);
    const [event] = await fixture.rows('SELECT evidence FROM operation_events WHERE operation_id = ?', [
      operationId,
    ]);
    expect(jsonOf(event?.evidence)).toMatchObject({
      via: 'result',
      journalEpoch,
      runs: 1,
      startedAt: new Date(startedAt).toISOString(),
      sessionId: target?.session_id,
    });
    expect(fixture.agents.map((each) => each.id)).toContain(jsonOf(event?.evidence).heardBy);
  });

  it('shows as live events of target and operation, and wakes a conductor', async () => {
    const operationId = await seedOperation(fixture, [board]);
    await report([{ operationId }]);
    const events = await fixture.rows("SELECT board_uuid, payload FROM events WHERE type = 'operation'");
    const own = events.filter((row) => jsonOf(row.payload).operation === operationId);
    expect(own.map((row) => [row.board_uuid, jsonOf(row.payload).state])).toEqual([
      [board.uuid, 'succeeded'],
      [null, 'succeeded'],
    ]);
    await until('the conductor is woken for the board and for whoever waits', () => {
      const bodies = conductor.received as { boards?: string[]; operations?: string[] }[];
      return (
        bodies.some((each) => each.boards?.includes(board.uuid)) &&
        bodies.some((each) => each.operations?.includes(operationId))
      );
    });
    const [queue] = await fixture.rows('SELECT ready, lane FROM board_queues WHERE board_uuid = ?', [
      board.uuid,
    ]);
    expect(queue).toEqual({ ready: 1, lane: 0 });
  });

  it('that is repeated is acknowledged and changes nothing more', async () => {
    const operationId = await seedOperation(fixture, [board]);
    await Promise.all(Array.from({ length: 6 }, () => report([{ operationId }])));
    expect(await report([{ operationId }])).toEqual([operationId]);
    expect(await kindsOf(fixture, operationId)).toEqual(['succeeded', '*succeeded']);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({ version: 2 });
  });

  it('of several steps in one call goes through all of them', async () => {
    const operationId = await seedOperation(fixture, [board]);
    await report([
      { operationId, state: 'accepted' },
      { operationId, state: 'running' },
      { operationId, state: 'cancelled' },
    ]);
    expect(await kindsOf(fixture, operationId)).toEqual(['accepted', 'running', 'cancelled', '*cancelled']);
  });

  it('of an operation that was deleted is acknowledged, so that the board forgets it', async () => {
    const operationId = randomUUID();
    expect(await report([{ operationId }])).toEqual([operationId]);
  });

  it('counts for the board that says it, and for no other', async () => {
    const other = await seedBoard(fixture, tenantId);
    const operationId = await seedOperation(fixture, [other]);
    expect(await report([{ operationId }])).toEqual([operationId]);
    expect(await targetOf(fixture, operationId, other.uuid)).toMatchObject({ state: 'dispatched' });
  });

  it('ends an operation on many boards with the last of them, also when they end at once', async () => {
    const boards = [board, ...(await Promise.all([1, 2, 3].map(() => seedBoard(fixture, tenantId))))];
    const sessions = [
      session,
      ...(await Promise.all(boards.slice(1).map((each) => goOnline(fixture, each)))),
    ];
    const operationIds = await Promise.all([1, 2, 3, 4, 5].map(() => seedOperation(fixture, boards)));
    for (const operationId of operationIds) {
      await Promise.all(sessions.map((each) => report([{ operationId }], each)));
      expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'succeeded' });
      expect((await kindsOf(fixture, operationId)).filter((kind) => kind.startsWith('*'))).toHaveLength(1);
    }
    await Promise.all(sessions.slice(1).map((each) => each.leave()));
  });

  it('puts an unknown target and its operation right', async () => {
    const operationId = await seedOperation(fixture, [board]);
    await report([{ operationId, state: 'interrupted' }]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({ state: 'unknown' });
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'failed' });
    await report([{ operationId }]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({
      state: 'succeeded',
      error: null,
    });
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'succeeded' });
  });

  it('that contradicts an end is noted once it is said, and changes nothing', async () => {
    const operationId = await seedOperation(fixture, [board], { state: 'cancelled' });
    expect(await report([{ operationId }])).toEqual([operationId]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({
      state: 'cancelled',
      version: 1,
    });
    expect(await kindsOf(fixture, operationId)).toContain('late-report');
  });

  it('is stored however deep it may be', async () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
    const deep = nested(28);
    const details = { deep: nested(27) };
    const [succeeded, failed, progressed] = await Promise.all(
      [1, 2, 3].map(() => seedOperation(fixture, [board])),
    );
    await report([
      { operationId: String(succeeded), result: deep },
      { operationId: String(failed), state: 'failed', error: { code: 'x', message: '', details } },
      { operationId: String(progressed), state: 'running', progress: { data: deep } },
    ]);
    expect(jsonOf((await targetOf(fixture, String(succeeded), board.uuid))?.result)).toEqual(deep);
    expect(jsonOf((await targetOf(fixture, String(failed), board.uuid))?.error)).toMatchObject({ details });
    expect(jsonOf((await targetOf(fixture, String(progressed), board.uuid))?.progress)).toEqual({
      data: deep,
    });
  });

  it('with artifacts is taken only when they are in the store', async () => {
    const operationId = await seedOperation(fixture, [board]);
    const artifact = { name: 'log.txt', mediaType: 'text/plain', size: 3, sha256: 'a'.repeat(64) };
    expect(await report([{ operationId, artifacts: [artifact] }])).toEqual([]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({ state: 'dispatched' });
    await fixture.sql.query(
      `INSERT INTO artifacts (id, tenant_id, board_uuid, operation_id, attempt, name, media_type, size, sha256, received,
         state, created_at, updated_at, expires_at)
       VALUES (?, ?, ?, ?, 1, 'log.txt', 'text/plain', 3, ?, 3, 'complete', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3),
         UTC_TIMESTAMP(3))`,
      [randomUUID(), tenantId, board.uuid, operationId, artifact.sha256],
    );
    expect(await report([{ operationId, artifacts: [artifact] }])).toEqual([operationId]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({ state: 'succeeded' });
  });
});

describe('outcomes', () => {
  it('are written once each, whatever is killed while they come in', async () => {
    const operationIds = await Promise.all(
      Array.from({ length: 60 }, () => seedOperation(fixture, [board], { maxAttempts: 2 })),
    );
    const left = new Set(operationIds);
    const error = { code: 'procedure-failed', message: '' };
    const saying = until(
      'all is acknowledged',
      async () => {
        const reports = [...left]
          .slice(0, 5)
          .map((operationId) => ({ operationId, state: 'failed', error }) as const);
        for (const each of (await report(reports)) as string[]) left.delete(each);
        return left.size === 0;
      },
      { timeoutMs: 30_000, everyMs: 1 },
    );
    await until('some are through', () => left.size < 50, { everyMs: 1 });
    await fixture.agents.shift()?.kill('SIGKILL');
    expect(left.size).toBeGreaterThan(0);
    await fixture.startAgent();
    await saying;
    for (const operationId of operationIds) {
      expect(await kindsOf(fixture, operationId)).toEqual(['retry']);
      expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({ state: 'queued', attempt: 2 });
    }
  });
});

describe('what contradicts an end', () => {
  it('is a row once an hour, however often a board says it', async () => {
    const operationId = await seedOperation(fixture, [board]);
    await report([{ operationId }]);
    const error = { code: 'procedure-failed', message: 'no', details: { text: 'x'.repeat(10_000) } };
    for (let time = 0; time < 20; time += 1)
      expect(await report([{ operationId, state: 'failed', error }])).toEqual([operationId]);
    const kinds = await kindsOf(fixture, operationId);
    const late = kinds.filter((kind) => kind === 'late-report').length;
    // Two agents, each with its own memory.
    expect([1, 2]).toContain(late);
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'succeeded' });
  });
});

describe('a failure with attempts left', () => {
  it('goes back to the queue of its board for later, with the failure as evidence', async () => {
    const operationId = await seedOperation(fixture, [board], { maxAttempts: 3 });
    const error = { code: 'procedure-failed', message: 'the valve is stuck' };
    expect(await report([{ operationId, state: 'failed', error }])).toEqual([operationId]);
    const target = await targetOf(fixture, operationId, board.uuid);
    expect(target).toMatchObject({ state: 'queued', queue: 1, attempt: 2, deliveries: 0, ended_at: null });
    expect(target?.not_before).toBeInstanceOf(Date);
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'active' });
    const [event] = await fixture.rows(
      "SELECT evidence, attempt FROM operation_events WHERE operation_id = ? AND kind = 'retry'",
      [operationId],
    );
    expect(event?.attempt).toBe(1);
    expect(jsonOf(event?.evidence)).toMatchObject({ error });
    expect(await report([{ operationId, state: 'failed', error }])).toEqual([operationId]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({ state: 'queued', attempt: 2 });
  });
});

describe('progress', () => {
  const tell = (operationId: string, percent: number, attempt = 1) =>
    session.call(agentUris.operationProgress, { operationId, attempt, progress: { percent } });

  it('is written once a second, and says that it runs', async () => {
    const operationId = await seedOperation(fixture, [board], { state: 'accepted' });
    const answers = [];
    for (let percent = 1; percent <= 10; percent += 1) answers.push(await tell(operationId, percent));
    const taken = answers.filter((each) => (each as { taken: boolean }).taken).length;
    // Two agents, each with its own memory.
    expect(taken).toBeGreaterThanOrEqual(1);
    expect(taken).toBeLessThanOrEqual(4);
    const target = await targetOf(fixture, operationId, board.uuid);
    expect(target).toMatchObject({ state: 'running' });
    expect(jsonOf(target?.progress)).toHaveProperty('percent');
    expect((await kindsOf(fixture, operationId)).length).toBe(taken);
  });

  it('of an attempt that is over is not taken', async () => {
    const ended = await seedOperation(fixture, [board], { state: 'failed' });
    const later = await seedOperation(fixture, [board], { attempt: 2 });
    expect(await tell(ended, 1)).toEqual({ taken: false });
    expect(await tell(later, 1, 1)).toEqual({ taken: false });
    expect(await tell(randomUUID(), 1)).toEqual({ taken: false });
  });
});

describe('what a board ran by an offline schedule', () => {
  const dueAt = Date.now() - 60_000;

  async function seedSchedule(ofTenant = tenantId): Promise<string> {
    const id = randomUUID();
    await fixture.sql.query(
      `INSERT INTO schedules (id, tenant_id, name, state, timing, overlap, catch_up, offline, operation, created_by,
         created_at, updated_at)
       VALUES (?, ?, ?, 'active', ?, 'skip', 'last', 1, ?, 'user:u1', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [
        id,
        ofTenant,
        id,
        JSON.stringify({ kind: 'interval', everySeconds: 60, from: dueAt }),
        JSON.stringify({
          procedure: 'echo',
          kwargs: { text: 'x' },
          target: { boards: [board.uuid] },
          deadlineSeconds: 600,
          attempts: 2,
        }),
      ],
    );
    return id;
  }

  it('becomes an operation with its outcome', async () => {
    const scheduleId = await seedSchedule();
    const operationId = scheduledOperationId(scheduleId, dueAt);
    expect(await report([{ operationId, result: 1, schedule: { scheduleId, dueAt } }])).toEqual([
      operationId,
    ]);
    const operation = await operationOf(fixture, operationId);
    expect(operation).toMatchObject({
      tenant_id: tenantId,
      procedure_name: 'echo',
      state: 'succeeded',
      target_count: 1,
      max_attempts: 2,
      schedule_id: scheduleId,
      created_by: `schedule:${scheduleId}`,
      due_at: new Date(dueAt),
      deadline_at: new Date(dueAt + 600_000),
    });
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({
      state: 'succeeded',
      attempt: 1,
    });
    expect(
      await fixture.rows('SELECT * FROM schedule_runs WHERE schedule_id = ?', [scheduleId]),
    ).toMatchObject([{ operation_id: operationId, outcome: 'ran-offline', due_at: new Date(dueAt) }]);
    expect(await report([{ operationId, result: 1, schedule: { scheduleId, dueAt } }])).toEqual([
      operationId,
    ]);
    expect(await kindsOf(fixture, operationId)).toEqual(['*created', 'succeeded', '*succeeded']);
  });

  it('ends its operation with its target, though the agent dies right then', async () => {
    const scheduleId = await seedSchedule();
    const operationId = scheduledOperationId(scheduleId, dueAt);
    const database = createDatabase({ url: fixture.database.url, logger: createLogger('test', 'silent') });
    try {
      let isFirst = true;
      const write = createReportWriter({
        ...database,
        transaction(work, options) {
          if (!isFirst) return Promise.reject(new Error('it died'));
          isFirst = false;
          return database.transaction(work, options);
        },
      });
      const source = { via: 'result', sessionId: null, journalEpoch, heardBy: 'test' } as const;
      const schedule = { scheduleId, dueAt };
      const said = { operationId, attempt: 1, state: 'succeeded', schedule } as const;
      await expect(write([{ board, source, report: said }])).rejects.toThrow('it died');
      expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'succeeded', target_count: 1 });
    } finally {
      await database.close();
    }
  });

  it('is one operation for all boards, whoever comes first', async () => {
    const scheduleId = await seedSchedule();
    const operationId = scheduledOperationId(scheduleId, dueAt);
    const boards = await Promise.all(Array.from({ length: 6 }, () => seedBoard(fixture, tenantId)));
    const sessions = await Promise.all(boards.map((each) => goOnline(fixture, each)));
    const said = { operationId, schedule: { scheduleId, dueAt } };
    const answers = await Promise.all(sessions.map((each) => report([said], each)));
    expect(answers).toEqual(sessions.map(() => [operationId]));
    await report([{ ...said, state: 'failed', error: { code: 'invalid-arguments', message: '' } }]);
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'failed', target_count: 7 });
    expect(
      await fixture.rows('SELECT * FROM schedule_runs WHERE schedule_id = ?', [scheduleId]),
    ).toHaveLength(1);
    await Promise.all(sessions.map((each) => each.leave()));
  });

  it('counts for the operation that a conductor made of the same due time', async () => {
    const scheduleId = await seedSchedule();
    const operationId = scheduledOperationId(scheduleId, dueAt);
    const made = await seedOperation(fixture, [board], { state: 'queued', attempt: 0 });
    for (const table of ['operations', 'operation_targets'])
      await fixture.sql.query(
        `UPDATE ${table} SET ${table === 'operations' ? 'id' : 'operation_id'} = ? WHERE ${table === 'operations' ? 'id' : 'operation_id'} = ?`,
        [operationId, made],
      );
    await report([{ operationId, schedule: { scheduleId, dueAt } }]);
    expect(await targetOf(fixture, operationId, board.uuid)).toMatchObject({
      state: 'succeeded',
      attempt: 1,
    });
    expect(await operationOf(fixture, operationId)).toMatchObject({ state: 'succeeded', target_count: 1 });
  });

  it('is taken as often as its schedule is due, and of times that it does not have a few at a time', async () => {
    const scheduleId = await seedSchedule();
    const run = (at: number) => ({
      operationId: scheduledOperationId(scheduleId, at),
      schedule: { scheduleId, dueAt: at },
    });
    let acknowledged: string[] = [];
    const invented = Array.from({ length: 200 }, (_, index) => run(dueAt - 1 - index));
    for (let from = 0; from < invented.length; from += 50)
      acknowledged = acknowledged.concat((await report(invented.slice(from, from + 50))) as string[]);
    // Two agents, each with its own memory.
    expect(acknowledged.length).toBeGreaterThanOrEqual(60);
    expect(acknowledged.length).toBeLessThanOrEqual(120);
    expect(await fixture.rows('SELECT id FROM operations WHERE schedule_id = ?', [scheduleId])).toHaveLength(
      acknowledged.length,
    );
    const real = run(dueAt + 60_000);
    expect(await report([real])).toEqual([real.operationId]);
  });

  it('is forgotten when its schedule is gone, of another tenant, or not what its id says', async () => {
    const foreign = await seedSchedule(await seedTenant(fixture));
    const own = await seedSchedule();
    const gone = randomUUID();
    const said = [
      { operationId: scheduledOperationId(gone, dueAt), schedule: { scheduleId: gone, dueAt } },
      { operationId: scheduledOperationId(foreign, dueAt), schedule: { scheduleId: foreign, dueAt } },
      { operationId: randomUUID(), schedule: { scheduleId: own, dueAt } },
      { operationId: scheduledOperationId(own, 1), schedule: { scheduleId: own, dueAt: 1 } },
    ];
    expect(await report(said)).toEqual(said.map((each) => each.operationId));
    for (const { operationId } of said) expect(await operationOf(fixture, operationId)).toBeUndefined();
    const metrics = await Promise.all(
      fixture.agents.map(async ({ relayUrl }) => (await fetch(`${relayUrl}/metrics`)).text()),
    );
    expect(metrics.join('\n')).toMatch(/operation_reports_total\{outcome="unknown-schedule"\} [1-4]/);
  });
});

describe('hello', () => {
  it('stores the identity of the journal, and wakes what waits for the board', async () => {
    const late = await seedBoard(fixture, tenantId);
    await fixture.sql.query(
      'INSERT INTO board_queues (board_uuid, tenant_id, ready, has_open, mark) VALUES (?, ?, NULL, 1, 4)',
      [late.uuid, tenantId],
    );
    const its = await goOnline(fixture, late);
    const [row] = await fixture.rows('SELECT journal_epoch FROM boards WHERE uuid = ?', [late.uuid]);
    expect(row?.journal_epoch).toBe(journalEpoch);
    const [queue] = await fixture.rows('SELECT ready, lane, mark FROM board_queues WHERE board_uuid = ?', [
      late.uuid,
    ]);
    expect(queue).toEqual({ ready: 1, lane: 1, mark: 5 });
    await until('the conductor is woken', () =>
      (conductor.received as { boards: string[] }[]).some((each) => each.boards.includes(late.uuid)),
    );
    await its.call(agentUris.hello, helloOf());
    const [kept] = await fixture.rows('SELECT journal_epoch FROM boards WHERE uuid = ?', [late.uuid]);
    expect(kept?.journal_epoch).toBe(journalEpoch);
    await its.leave();
  });
});

describe('who may say so', () => {
  it('is the live session of a board only', async () => {
    const operationId = await seedOperation(fixture, [board]);
    const twin = await seedBoard(fixture, tenantId);
    const old = await joinBoard(fixture, twin, { ignoreGoodbye: true });
    await greet(old, helloOf());
    const fresh = await goOnline(fixture, twin);
    await expect(report([{ operationId }], old)).rejects.toBeDefined();
    await fresh.leave();
    const service = await joinService(fixture, await seedKey(fixture, tenantId));
    for (const uri of [agentUris.operationResult, agentUris.operationProgress, agentUris.putArtifact])
      await expect(service.call(uri, {})).rejects.toMatchObject({ uri: 'wamp.error.not_authorized' });
    for (const name of ['operation.run', 'operation.status', 'operation.cancel', 'operation.schedules'])
      await expect(service.call(boardProcedureUri(board.uuid, name), {})).rejects.toMatchObject({
        uri: 'wamp.error.not_authorized',
      });
    await service.leave();
  });
});
