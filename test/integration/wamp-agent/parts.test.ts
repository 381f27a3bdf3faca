/** Parts of the agent on a real database, without a router. */
import { randomUUID } from 'node:crypto';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { findLiveSessions } from '../../../common/db/queries/presence.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { createRefusals } from '../../../wamp-agent/auth/refusals.ts';
import { createBoardDirectory } from '../../../wamp-agent/boards/directory.ts';
import { createMetrics } from '../../../wamp-agent/metrics.ts';
import { createBacklogs } from '../../../wamp-agent/presence/backlogs.ts';
import { createLeaves } from '../../../wamp-agent/presence/leaves.ts';
import { createSignsOfLife } from '../../../wamp-agent/presence/signs-of-life.ts';
import { createTestDatabase, type TestDatabase } from '../../harness/mariadb.ts';
import { until } from '../../harness/until.ts';

const logger = createLogger('test', 'silent');
const tenantId = randomUUID();
const count = 1200;
const boards = Array.from({ length: count }, () => randomUUID());

let test: TestDatabase;
let sql: Connection;
let database: Database;
let statements = 0;

beforeAll(async () => {
  test = await createTestDatabase();
  sql = await test.connect();
  const real = createDatabase({ url: test.url, logger });
  database = {
    ...real,
    read(work, options) {
      statements += 1;
      return real.read(work, options);
    },
    transaction(work, options) {
      statements += 1;
      return real.transaction(work, options);
    },
  };
  const now = new Date();
  await sql.query('INSERT INTO tenants (id, name, slug, created_at, updated_at) VALUES (?, ?, ?, ?, ?)', [
    tenantId,
    't',
    't',
    now,
    now,
  ]);
  await sql.query('INSERT INTO boards (uuid, tenant_id, name, status, created_at, updated_at) VALUES ?', [
    boards.map((uuid) => [uuid, tenantId, uuid, 'online', now, now]),
  ]);
  await sql.query(
    'INSERT INTO board_sessions (id, board_uuid, live, cell, agent_id, wamp_session, boot_id, agent_version, started_at) VALUES ?',
    [boards.map((uuid, index) => [randomUUID(), uuid, 1, 'here', randomUUID(), index + 1, 'b', '1', now])],
  );
});
afterAll(async () => {
  await database?.close();
  await sql?.end();
  await test?.drop();
});

const rows = async (text: string, values: unknown[] = []) =>
  (await sql.query<RowDataPacket[]>(text, values))[0];

describe('the directory of boards', () => {
  it('asks once for many, remembers, and forgets what changed while it asked', async () => {
    await sql.query('UPDATE board_sessions SET live = 1, ended_at = NULL');
    const directory = createBoardDirectory(database);
    statements = 0;
    const found = await Promise.all(boards.slice(0, 100).map((uuid) => directory.find(uuid)));
    expect(statements).toBe(1);
    expect(found[7]).toMatchObject({ uuid: boards[7], tenantId, live: { cell: 'here', wampSession: 8 } });
    await directory.find(boards[7] ?? '');
    expect(statements).toBe(1);
    const early = directory.find(boards[200] ?? '');
    directory.forget(boards[200] ?? '');
    await early;
    await directory.find(boards[200] ?? '');
    expect(statements).toBe(3);
    expect(await directory.find(randomUUID())).toBeUndefined();
  });
});

describe('refusals', () => {
  it('of two boards behind one address have a row each, and so have two targets of one key', async () => {
    const refusals = createRefusals({ database, metrics: createMetrics(), logger });
    const remoteAddress = '10.0.2.1';
    for (const actor of ['board-1', 'board-2', 'board-1'])
      refusals.record({
        actorKind: 'anonymous',
        actor,
        action: 'wamp-join',
        remoteAddress,
        result: 'invalid-credentials',
      });
    for (const target of ['uri-1', 'uri-2', 'uri-2'])
      refusals.record({
        actorKind: 'key',
        actor: 'key-1',
        action: 'wamp-authorize',
        targetKind: 'uri',
        target,
        remoteAddress,
        result: 'not-authorized',
      });
    await refusals.stop();
    const written = await rows(
      'SELECT actor, target, detail FROM audit_events WHERE remote_address = ? ORDER BY actor, target, detail IS NOT NULL',
      [remoteAddress],
    );
    const again = { repeats: 1 };
    expect(written).toEqual([
      { actor: 'board-1', target: null, detail: null },
      { actor: 'board-1', target: null, detail: again },
      { actor: 'board-2', target: null, detail: null },
      { actor: 'key-1', target: 'uri-1', detail: null },
      { actor: 'key-1', target: 'uri-2', detail: null },
      { actor: 'key-1', target: 'uri-2', detail: again },
    ]);
  });

  const knock = (actor: string, remoteAddress: string) =>
    ({
      actorKind: 'anonymous',
      actor,
      action: 'wamp-join',
      remoteAddress,
      result: 'invalid-credentials',
    }) as const;
  const audited = (addresses: string) =>
    rows(
      'SELECT actor, target, remote_address, result, detail FROM audit_events WHERE remote_address LIKE ?',
      [addresses],
    );

  it('are audited once and then counted, whatever names and targets one sender invents', async () => {
    const refusals = createRefusals({ database, metrics: createMetrics(), logger, maxKindsOfSender: 3 });
    for (let index = 0; index < 50; index += 1) {
      refusals.record(knock(`guess-${index}`, '10.0.0.1'));
      refusals.record({
        actorKind: 'board',
        actor: 'board-1',
        action: 'wamp-authorize',
        targetKind: 'uri',
        target: `uri-${index}`,
        remoteAddress: '10.0.0.2',
        result: 'not-authorized',
        detail: { action: 'call' },
      });
    }
    await refusals.stop();
    const guesses = await audited('10.0.0.1');
    expect(guesses.map((row) => row.actor).toSorted()).toEqual(['*', 'guess-0', 'guess-1', 'guess-2']);
    expect(guesses.find((row) => row.actor === '*')).toMatchObject({
      result: 'invalid-credentials',
      target: null,
      detail: { repeats: 47 },
    });
    const targets = await audited('10.0.0.2');
    expect(targets.map((row) => row.target).toSorted()).toEqual(['*', 'uri-0', 'uri-1', 'uri-2']);
    expect(targets.find((row) => row.target === '*')).toMatchObject({
      actor: 'board-1',
      detail: { repeats: 47 },
    });
  });

  it('of many senders are few rows, and a sender that invents names takes no place from the next', async () => {
    const refusals = createRefusals({ database, metrics: createMetrics(), logger, maxSenders: 3 });
    for (let index = 0; index < 10; index += 1) refusals.record(knock(`guess-${index}`, '10.0.1.0'));
    for (let index = 1; index < 50; index += 1) refusals.record(knock('x', `10.0.1.${index}`));
    await refusals.stop();
    const written = await audited('10.0.1.%');
    expect(written.map((row) => `${row.remote_address} ${row.actor}`).toSorted()).toEqual([
      '10.0.1.0 *',
      '10.0.1.0 guess-0',
      '10.0.1.0 guess-1',
      '10.0.1.0 guess-2',
      '10.0.1.1 x',
      '10.0.1.2 x',
    ]);
    expect(written.find((row) => row.actor === '*')).toMatchObject({ detail: { repeats: 7 } });
    expect(await rows("SELECT actor, detail FROM audit_events WHERE result = 'too-many-kinds'")).toEqual([
      { actor: '*', detail: { repeats: 47 } },
    ]);
  });
});

describe('signs of life', () => {
  it('of many boards are few statements', async () => {
    const signs = createSignsOfLife(database, logger, 60_000);
    for (const uuid of boards)
      for (const sign of ['heartbeat', 'heartbeat', 'rpc'] as const) signs.note(uuid, sign);
    statements = 0;
    await signs.stop();
    expect(statements).toBe(6);
    const [row] = await rows(
      'SELECT COUNT(*) AS n FROM boards WHERE last_heartbeat_at IS NOT NULL AND last_rpc_at IS NOT NULL AND last_seen_at IS NOT NULL',
    );
    expect(row?.n).toBe(count);
  });
});

describe('the end of many sessions at once', () => {
  it('is few transactions, done once although two agents hear of it', async () => {
    const directory = createBoardDirectory(database);
    let announced = 0;
    const agent = () =>
      createLeaves({
        database,
        cell: 'here',
        directory,
        changes: {
          announce(events) {
            announced += events.length;
          },
        },
        logger,
      });
    const agents = [agent(), agent()];
    statements = 0;
    for (let session = 1; session <= count; session += 1) for (const each of agents) each.note(session);
    await until(
      'all sessions ended',
      async () => (await database.read((m) => findLiveSessions(m, 'here'))).length === 0,
    );
    await Promise.all(agents.map((each) => each.stop()));
    expect(statements).toBeLessThan(60);
    expect(announced).toBe(count);
    const [events] = await rows("SELECT COUNT(*) AS n FROM events WHERE type = 'presence'");
    expect(events?.n).toBe(count);
    const [offline] = await rows("SELECT COUNT(*) AS n FROM boards WHERE status = 'offline'");
    expect(offline?.n).toBe(count);
  });
});

describe('what boards still hold', () => {
  it('is what they said last, whichever of two agents heard it', async () => {
    const [one, two] = [createBacklogs(database, logger, 20), createBacklogs(database, logger, 20)];
    const [board = ''] = boards;
    const holds = (waiting: number) =>
      until(`it holds ${waiting}`, async () => {
        const [rows] = await sql.query<RowDataPacket[]>(
          'SELECT waiting FROM board_backlogs WHERE board_uuid = ?',
          [board],
        );
        return rows[0]?.waiting === waiting;
      });
    for (const [agent, waiting] of [
      [one, 0],
      [two, 50],
      [one, 0],
    ] as const) {
      agent.note(board, waiting);
      await holds(waiting);
    }
    await Promise.all([one.stop(), two.stop()]);
  });
});
