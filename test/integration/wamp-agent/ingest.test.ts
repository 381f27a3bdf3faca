/** Exactly-once, with agents, router and database as they are. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import type { ReadingsBatch, ReadingTuple } from '../../../common/wamp/readings.ts';
import { agentUris } from '../../../common/wamp/uris.ts';
import { createIngest, type Ingest } from '../../../wamp-agent/ingest/ingest.ts';
import { createNewestAt } from '../../../wamp-agent/ingest/newest-at.ts';
import { createMetrics } from '../../../wamp-agent/metrics.ts';
import { startFaultyProxy } from '../../harness/faulty-proxy.ts';
import { type Fixture, greet, helloOf, joinBoard, seedBoard, seedTenant, startFixture } from './fixture.ts';

let fixture: Fixture;
let tenantId: string;
const logger = createLogger('test', 'silent');
const databases: Database[] = [];

beforeAll(async () => {
  fixture = await startFixture(2);
  tenantId = await seedTenant(fixture);
});
afterAll(async () => {
  await Promise.all(databases.map((each) => each.close()));
  await fixture?.stop();
});

async function newIngest(url = fixture.database.url): Promise<Ingest> {
  const database = createDatabase({ url, logger });
  databases.push(database);
  const newestAt = createNewestAt(database, logger);
  await newestAt.refresh();
  return createIngest({ database, newestAt, metrics: createMetrics(), logger });
}

const level = { name: 'lab/level', type: 'number', unit: 'm' } as const;
const start = Date.now() - 7_200_000;

function batchOf(epoch: string, from: number, count: number): ReadingsBatch {
  const readings = Array.from({ length: count }, (_, index): ReadingTuple => {
    const seq = from + index;
    return [0, start + seq * 100, seq / 8];
  });
  return { epoch, from, streams: [level], readings };
}

async function stored(boardUuid: string) {
  const [counts] = await fixture.rows(
    `SELECT COUNT(*) AS readings, COUNT(DISTINCT r.seq) AS seqs FROM readings r JOIN streams s ON s.id = r.stream_id
     WHERE s.board_uuid = ?`,
    [boardUuid],
  );
  const [spool] = await fixture.rows(
    'SELECT acked_seq, received, lost, misdated FROM board_spools WHERE board_uuid = ? ORDER BY id DESC LIMIT 1',
    [boardUuid],
  );
  return { ...counts, ...spool };
}

describe('readings', () => {
  it('find their days when no conductor has made any for long', async () => {
    const names = await fixture.rows(
      `SELECT partition_name AS name FROM information_schema.partitions
       WHERE table_schema = DATABASE() AND table_name = 'readings'
         AND CAST(partition_description AS UNSIGNED) > ?`,
      [Date.now()],
    );
    const list = names.map((row) => row.name as string).join(', ');
    await fixture.sql.query(`ALTER TABLE readings DROP PARTITION ${list}`);
    const ingest = await newIngest();
    const { uuid } = await seedBoard(fixture, tenantId);
    const readings: ReadingTuple[] = [[0, Date.now(), 1]];
    await ingest.append({ uuid, tenantId }, { epoch: randomUUID(), from: 1, streams: [level], readings });
    expect(await stored(uuid)).toMatchObject({ readings: 1, received: 1, misdated: 0 });
  });

  it('are stored once when every batch comes through two agents at once', async () => {
    const ingests = [await newIngest(), await newIngest()];
    const boards = await Promise.all(Array.from({ length: 8 }, () => seedBoard(fixture, tenantId)));
    const [batches, size] = [25, 20];
    await Promise.all(
      boards.map(async ({ uuid }) => {
        const epoch = randomUUID();
        for (let index = 0; index < batches; index += 1) {
          const batch = batchOf(epoch, index * size + 1, size);
          const acks = await Promise.all(ingests.map((each) => each.append({ uuid, tenantId }, batch)));
          for (const ack of acks) expect(ack.ackedSeq).toBeGreaterThanOrEqual((index + 1) * size);
        }
      }),
    );
    for (const { uuid } of boards)
      expect(await stored(uuid)).toEqual({
        readings: batches * size,
        seqs: batches * size,
        acked_seq: batches * size,
        received: batches * size,
        lost: 0,
        misdated: 0,
      });
    const [stream] = await fixture.rows(
      'SELECT reading_count, first_at, last_at, last_number FROM streams WHERE board_uuid = ?',
      [boards[0]?.uuid],
    );
    expect(stream).toEqual({
      reading_count: batches * size,
      first_at: start + 100,
      last_at: start + batches * size * 100,
      last_number: (batches * size) / 8,
    });
  });

  it('may overlap with what is known, jump forward with a reason, and come with any time', async () => {
    const ingest = await newIngest();
    const { uuid } = await seedBoard(fixture, tenantId);
    const epoch = randomUUID();
    expect(await ingest.append({ uuid, tenantId }, batchOf(epoch, 1, 10))).toEqual({
      ackedSeq: 10,
      firstNew: 0,
    });
    expect(await ingest.append({ uuid, tenantId }, batchOf(epoch, 6, 10))).toEqual({
      ackedSeq: 15,
      firstNew: 5,
    });
    expect(await ingest.append({ uuid, tenantId }, batchOf(epoch, 1, 5))).toEqual({
      ackedSeq: 15,
      firstNew: 5,
    });
    const jump = { ...batchOf(epoch, 21, 1), lost: { reason: 'spool-full' } };
    expect(await ingest.append({ uuid, tenantId }, jump)).toEqual({ ackedSeq: 21, firstNew: 0 });
    expect(await ingest.append({ uuid, tenantId }, { ...batchOf(epoch, 31, 0) })).toEqual({
      ackedSeq: 30,
      firstNew: 0,
    });
    const far = Date.now() + 30 * 86_400_000;
    const odd: ReadingsBatch = {
      ...batchOf(epoch, 31, 2),
      readings: [
        [0, far, 1],
        [0, 0, 2],
      ],
    };
    expect(await ingest.append({ uuid, tenantId }, odd)).toMatchObject({ ackedSeq: 32 });
    expect(await stored(uuid)).toEqual({
      readings: 17,
      seqs: 17,
      acked_seq: 32,
      received: 18,
      lost: 14,
      misdated: 1,
    });
    const gaps = await fixture.rows(
      `SELECT from_seq, to_seq, reason FROM reading_gaps g JOIN board_spools s ON s.id = g.spool_id
       WHERE s.board_uuid = ? ORDER BY from_seq`,
      [uuid],
    );
    expect(gaps).toEqual([
      { from_seq: 16, to_seq: 20, reason: 'spool-full' },
      { from_seq: 22, to_seq: 30, reason: 'undeclared' },
    ]);
    const late = await fixture.rows(
      'SELECT seq, at FROM misdated_readings m JOIN board_spools s ON s.id = m.spool_id WHERE s.board_uuid = ?',
      [uuid],
    );
    expect(late).toEqual([{ seq: 31, at: far }]);
  });

  it('keep their exact values, of every type', async () => {
    const ingest = await newIngest();
    const { uuid } = await seedBoard(fixture, tenantId);
    const streams = [
      level,
      { name: 'lab/open', type: 'boolean', unit: '' },
      { name: 'lab/note', type: 'text', unit: '' },
    ] as const;
    const numbers = [0.1, 1 / 3, -1.5e-300, 1.7e308, 123_456_789_012_345, 5e-324, 0];
    const text = "it's 21 °C; DROP TABLE readings; -- \\ 👍\n?";
    const readings: ReadingTuple[] = [
      ...numbers.map((value, index): ReadingTuple => [0, 1000 + index, value]),
      [1, 1000, true],
      [1, 1001, false],
      [2, 1000, text],
    ];
    await ingest.append(
      { uuid, tenantId },
      { epoch: randomUUID(), from: 1, streams: [...streams], readings },
    );
    const rows = await fixture.rows(
      `SELECT r.value_number AS number, r.value_text AS text FROM readings r JOIN streams s ON s.id = r.stream_id
       WHERE s.board_uuid = ? ORDER BY r.seq`,
      [uuid],
    );
    expect(rows.map((row) => row.number ?? row.text)).toEqual([...numbers, 1, 0, text]);
    const last = await fixture.rows(
      'SELECT name, last_number, last_text FROM streams WHERE board_uuid = ? ORDER BY name',
      [uuid],
    );
    expect(last).toEqual([
      { name: 'lab/level', last_number: 0, last_text: null },
      { name: 'lab/note', last_number: null, last_text: text },
      { name: 'lab/open', last_number: 0, last_text: null },
    ]);
    const hours = await fixture.rows(
      'SELECT s.name, d.hour_at FROM rollup_dirty_hours d JOIN streams s ON s.id = d.stream_id WHERE s.board_uuid = ? ORDER BY s.name',
      [uuid],
    );
    expect(hours).toEqual([
      { name: 'lab/level', hour_at: 0 },
      { name: 'lab/open', hour_at: 0 },
    ]);
  });

  it('of many boards share commits, and one batch that cannot be stored fails alone', async () => {
    const ingest = await newIngest();
    const boards = await Promise.all(Array.from({ length: 20 }, () => seedBoard(fixture, tenantId)));
    const epoch = randomUUID();
    await Promise.all(boards.map(({ uuid }) => ingest.append({ uuid, tenantId }, batchOf(epoch, 1, 1))));
    const gone = boards[3]?.uuid;
    await fixture.sql.query('DELETE FROM board_spools WHERE board_uuid = ?', [gone]);
    const results = await Promise.allSettled(
      boards.map(({ uuid }) => ingest.append({ uuid, tenantId }, batchOf(epoch, 2, 1))),
    );
    expect(results.map((each) => each.status).filter((each) => each === 'rejected')).toHaveLength(1);
    expect(results[3]).toMatchObject({ reason: { code: 'board-not-found' } });
  });

  it('wait while the database is away, and are stored once when it is back', async () => {
    const direct = new URL(fixture.database.url);
    const proxy = await startFaultyProxy({ port: Number(direct.port) });
    const proxied = new URL(direct);
    proxied.port = String(proxy.port);
    const ingest = await newIngest(proxied.href);
    const { uuid } = await seedBoard(fixture, tenantId);
    const epoch = randomUUID();
    await ingest.append({ uuid, tenantId }, batchOf(epoch, 1, 10));
    proxy.setMode('drop');
    const waiting = ingest.append({ uuid, tenantId }, batchOf(epoch, 11, 10));
    const early = await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 1500, 'waits'))]);
    expect(early).toBe('waits');
    proxy.setMode('pass');
    expect(await waiting).toMatchObject({ ackedSeq: 20 });
    // Cut in the middle of commits: whatever became of them, each reading is there once.
    for (let index = 2; index < 12; index += 1) {
      const append = ingest.append({ uuid, tenantId }, batchOf(epoch, index * 10 + 1, 10));
      await new Promise((resolve) => setTimeout(resolve, index / 2));
      proxy.cut();
      expect(await append).toMatchObject({ ackedSeq: (index + 1) * 10 });
    }
    expect(await stored(uuid)).toMatchObject({
      readings: 120,
      seqs: 120,
      acked_seq: 120,
      received: 120,
      lost: 0,
    });
    await ingest.stop();
    await Promise.all(databases.splice(0).map((each) => each.close()));
    await proxy.close();
  });

  it('survive the death of the agent that stores them', async () => {
    const board = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, board);
    const hello = helloOf();
    await greet(session, hello);
    let acked = 0;
    const append = async () => {
      const from = acked + 1;
      try {
        const ack = await session.call(agentUris.appendReadings, batchOf(hello.spoolEpoch, from, 10));
        acked = (ack as { ackedSeq: number }).ackedSeq;
      } catch {
        // The agent died with the call in its hands: the same batch again.
      }
    };
    for (let index = 0; index < 60; index += 1) {
      if (index === 20) void fixture.agents[0]?.kill('SIGKILL');
      if (index === 40) await fixture.startAgent();
      await append();
    }
    expect(acked).toBeGreaterThan(500);
    expect(await stored(board.uuid)).toMatchObject({
      readings: acked,
      seqs: acked,
      acked_seq: acked,
      lost: 0,
    });
    session.cut();
  });
});
