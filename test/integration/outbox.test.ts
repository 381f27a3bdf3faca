import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  addConsumer,
  dropDelivered,
  findStandings,
  loseOldest,
  removeConsumer,
  takeFromOutbox,
} from '../../common/db/queries/outbox.ts';
import { createOutboxClearing, limitOutbox } from '../../conductor/tasks/outbox.ts';
import { createConsumerMemory } from '../../wamp-agent/ingest/consumers.ts';
import { createIngest } from '../../wamp-agent/ingest/ingest.ts';
import { createNewestAt } from '../../wamp-agent/ingest/newest-at.ts';
import { createMetrics } from '../../wamp-agent/metrics.ts';
import { until } from '../harness/until.ts';
import { createContext, openConductorDatabase, silent } from './conductor/support.ts';
import { openSpool } from './readings-query-support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
beforeAll(async () => {
  db = await openConductorDatabase();
});
afterAll(() => db?.close());

const level = { name: 'lab/level', type: 'number', unit: 'm' } as const;
const note = { name: 'lab/note', type: 'text', unit: '' } as const;
const limits = { readings: 1000, ageSeconds: 3600 };

async function setUp({ consumers = 1 } = {}) {
  const tenantId = await db.rows.tenant();
  const boardUuid = await db.rows.board(tenantId, 'gateway');
  const ids = Array.from({ length: consumers }, () => randomUUID());
  for (const id of ids)
    await db.database.read((manager) => addConsumer(manager, { id, tenantId, kind: 'sink' }));
  const spool = await openSpool(db.database, db.connection, boardUuid, [level, note]);
  const take = (id = ids[0] as string, readings = 1000) =>
    db.database.read((manager) => takeFromOutbox(manager, id, readings));
  const drop = (outboxIds: number[], id = ids[0] as string) =>
    db.database.transaction((manager) => dropDelivered(manager, id, outboxIds));
  const consumer = async (id = ids[0]) => {
    const [rows] = await db.connection.query('SELECT taken, lost FROM reading_consumers WHERE id = ?', [id]);
    return (rows as { taken: number; lost: number }[])[0];
  };
  return { tenantId, boardUuid, ids: ids as [string, ...string[]], spool, take, drop, consumer };
}

const rowsOfTenant = (tenantId: string) =>
  db.value('SELECT COUNT(*) FROM reading_outbox WHERE tenant_id = ?', [tenantId]);
const now = () => Date.now() - (Date.now() % 1000);

describe('the outbox of readings', () => {
  it('gives each consumer what was stored, in order, until it is dropped', async () => {
    const { boardUuid, ids, spool, take, drop, consumer } = await setUp({ consumers: 2 });
    const at = now();
    await spool.append([
      [0, at, 1.5],
      [1, at, 'it\'s \\ "ü" 🙂'],
    ]);
    await spool.append([[0, at + 1, 2]]);
    const [first, second] = await take();
    expect(first).toMatchObject({
      boardUuid,
      fromSeq: 1,
      readingCount: 2,
      streams: [level, note],
      readings: [
        [0, at, 1.5, 1],
        [1, at, 'it\'s \\ "ü" 🙂', 2],
      ],
    });
    expect(second).toMatchObject({ fromSeq: 3, streams: [level], readings: [[0, at + 1, 2, 3]] });
    expect(await take(ids[0], 1)).toHaveLength(1);
    expect(await take(ids[0], 3)).toHaveLength(2);
    expect(await drop([first?.id as number])).toEqual([first?.id]);
    expect(await drop([first?.id as number])).toEqual([]);
    expect((await take()).map(({ id }) => id)).toEqual([second?.id]);
    expect(await take(ids[1])).toHaveLength(2);
    expect(await consumer()).toEqual({ taken: 2, lost: 0 });
    const standings = await db.database.read((manager) => findStandings(manager, ids));
    expect(ids.map((id) => standings.get(id)?.waiting)).toEqual([1, 3]);
  });

  it('has nothing of a tenant without consumers, of misdated readings, and of what came again', async () => {
    const nobody = await setUp({ consumers: 0 });
    await nobody.spool.append([[0, now(), 1]]);
    expect(await rowsOfTenant(nobody.tenantId)).toBe(0);

    const { tenantId, spool, take } = await setUp();
    const far = Date.now() + 100 * 86_400_000;
    await spool.append([[0, far, 1]]);
    expect(await rowsOfTenant(tenantId)).toBe(0);
    await spool.append([
      [0, far, 2],
      [0, now(), 3],
    ]);
    expect((await take()).map((each) => each.readings.map(([, , value, seq]) => [value, seq]))).toEqual([
      [[3, 3]],
    ]);
  });

  it('is filled by agents for many boards at once, each reading once, and wakes their consumers', async () => {
    const { tenantId, ids, take } = await setUp();
    const newestAt = createNewestAt(db.database, silent);
    await newestAt.refresh();
    const memory = createConsumerMemory(db.database, silent, 50);
    const woken = new Set<string>();
    const createOne = () =>
      createIngest({
        database: db.database,
        newestAt,
        metrics: createMetrics(),
        logger: silent,
        consumersOf: memory.of,
        onOutbox: (consumers) => {
          for (const each of consumers) woken.add(each);
        },
      });
    const agents = [createOne(), createOne()];
    await until('the consumer is known', () => memory.of(tenantId).length === 1);
    const boards = await Promise.all(
      Array.from({ length: 12 }, (_, index) => db.rows.board(tenantId, `many-${index}`)),
    );
    const epoch = randomUUID();
    const start = now();
    await Promise.all(
      boards.map(async (uuid) => {
        for (let batch = 0; batch < 10; batch += 1) {
          const from = batch * 5 + 1;
          const readings = [0, 1, 2, 3, 4].map(
            (each) => [0, start + from + each, each] as [0, number, number],
          );
          const one = { epoch, from, streams: [level], readings };
          await Promise.all(agents.map((agent) => agent.append({ uuid, tenantId }, one)));
        }
      }),
    );
    await Promise.all(agents.map((agent) => agent.stop()));
    await memory.stop();
    const entries = await take(ids[0], 5000);
    for (const uuid of boards) {
      const seqs = entries
        .filter((each) => each.boardUuid === uuid)
        .flatMap((each) => each.readings.map(([, , , seq]) => seq));
      expect(seqs).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
      const duplicate = 'SELECT duplicate FROM board_spools WHERE board_uuid = ?';
      expect(Number(await db.value(duplicate, [uuid]))).toBe(50);
    }
    expect([...woken]).toEqual(ids);
  });

  it('loses the oldest of a consumer that is too far behind, counted', async () => {
    const { ids, spool, take, consumer } = await setUp();
    for (let batch = 0; batch < 5; batch += 1)
      await spool.append([
        [0, now(), batch],
        [0, now(), batch],
      ]);
    const lose = (more: Partial<typeof limits>) =>
      db.database.transaction((manager) => loseOldest(manager, ids[0], { ...limits, ...more }));
    expect(await lose({})).toBe(0);
    expect(await lose({ readings: 7 })).toBe(4);
    expect((await take()).map((each) => each.fromSeq)).toEqual([5, 7, 9]);
    await db.connection.query(
      'UPDATE outbox_deliveries SET created_at = created_at - INTERVAL 2 HOUR WHERE consumer_id = ? ORDER BY outbox_id LIMIT 1',
      [ids[0]],
    );
    expect(await limitOutbox(createContext(db.database), limits)).toMatchObject({ lost: 2 });
    expect((await take()).map((each) => each.fromSeq)).toEqual([7, 9]);
    expect(await consumer()).toEqual({ taken: 6, lost: 6 });
  });

  it('is cleared of what everybody has had, and of what waits for nobody', async () => {
    const { tenantId, ids, spool, take, drop } = await setUp({ consumers: 2 });
    await spool.append([[0, now(), 1]]);
    await spool.append([[0, now(), 2]]);
    const entries = await take();
    await drop(entries.map(({ id }) => id));
    const context = createContext(db.database);
    const clear = createOutboxClearing();
    await clear(context);
    expect(await rowsOfTenant(tenantId)).toBe(2);
    await db.database.read((manager) => removeConsumer(manager, ids[1] as string));
    expect(await limitOutbox(context, limits)).toMatchObject({ dropped: 2 });
    expect(await clear(context)).toEqual({ cleared: 2 });
    expect(await rowsOfTenant(tenantId)).toBe(0);
  });

  it('is cleared of what was had behind all that waits for a consumer that is far behind, piece by piece', async () => {
    const { tenantId, spool, take, drop } = await setUp();
    for (let batch = 0; batch < 30; batch += 1) await spool.append([[0, now(), batch]]);
    const entries = await take();
    await drop([3, 14, 29].map((index) => entries[index]?.id as number));
    const clear = createOutboxClearing({ batches: 10, windows: 1 });
    const context = createContext(db.database);
    const total = Number(await db.value('SELECT COUNT(*) FROM reading_outbox'));
    // The last one finds the end, and the next begins anew.
    for (let run = 0; run <= total / 10; run += 1) await clear(context);
    expect(await rowsOfTenant(tenantId)).toBe(27);
    await drop([entries[0]?.id as number]);
    for (let run = 0; run <= total / 10; run += 1) await clear(context);
    expect(await rowsOfTenant(tenantId)).toBe(26);
  });
});
