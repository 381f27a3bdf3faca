/** Sinks of a database of their own, what is stored for them, and conductors that deliver it. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { readFlow } from '../../../../common/db/queries/flow.ts';
import { addConsumer, findStandings } from '../../../../common/db/queries/outbox.ts';
import type { SinkConfig } from '../../../../common/sinks/config.ts';
import type { StreamDeclaration } from '../../../../common/wamp/readings.ts';
import { sealSecret } from '../../../../common/webhooks/secrets.ts';
import type { SinkPoint } from '../../../../conductor/sinks/sink-kind.ts';
import { type Sinks, type SinksSettings, startSinks } from '../../../../conductor/sinks/sinks.ts';
import { until } from '../../../harness/until.ts';
import { openSpool } from '../../readings-query-support.ts';
import { relayKey } from '../../rpc-support.ts';
import { openConductorDatabase, silent } from '../support.ts';
import { type StubAnswer, startStub } from './support.ts';

export const sinkConfig: SinkConfig = { key: relayKey, allowPrivate: true, dir: undefined };
export const level: StreamDeclaration = { name: 'lab/level', type: 'number', unit: 'm' };
/** When the first reading was measured. */
export const start = Date.now() - 3_600_000;

export interface SinkOptions {
  kind?: string;
  settings: object;
  secrets?: object;
  batchSize?: number;
  maxAgeMs?: number;
  filter?: object;
  key?: string;
}

export interface TestSink {
  id: string;
  tenantId: string;
  board: string;
  /** So many readings in one stored batch; their values are 1, 2, 3 … */
  store(count: number, stream?: number): Promise<void>;
  // biome-ignore lint/suspicious/noExplicitAny: looked into by expectations
  row(): Promise<any>;
  waiting(): Promise<number>;
  /** As its owner would, by another version. */
  set(columns: object): Promise<unknown>;
}

export const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** To be called once, at the top of a test file: it opens and closes with it. */
export function useDelivery() {
  let db: Awaited<ReturnType<typeof openConductorDatabase>>;
  const cleanUps: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    db = await openConductorDatabase();
  });
  afterEach(async () => {
    for (const each of cleanUps.splice(0).reverse()) await each();
    await db.connection.query("UPDATE sinks SET state = 'paused'");
  });
  afterAll(() => db?.close());

  async function setUp(options: SinkOptions, streams: StreamDeclaration[] = [level]): Promise<TestSink> {
    const {
      kind = 'webhook',
      secrets = { secret: 'a-secret-of-16-or-more' },
      key = sinkConfig.key,
    } = options;
    const tenantId = await db.rows.tenant();
    const board = await db.rows.board(tenantId, 'gateway');
    const id = randomUUID();
    const now = new Date();
    await db.database.read((manager) => addConsumer(manager, { id, tenantId, kind: 'sink' }));
    await db.connection.query('INSERT INTO sinks SET ?', [
      {
        id,
        tenant_id: tenantId,
        name: 'out',
        kind,
        settings: JSON.stringify(options.settings),
        secrets: sealSecret(key, id, JSON.stringify(secrets)),
        filter: JSON.stringify(options.filter ?? {}),
        batch_size: options.batchSize ?? 10,
        max_age_ms: options.maxAgeMs ?? 300,
        created_by: 'test',
        created_at: now,
        updated_at: now,
      },
    ]);
    const spool = await openSpool(db.database, db.connection, board, streams);
    let seq = 0;
    return {
      id,
      tenantId,
      board,
      async store(count: number, stream = 0) {
        await spool.append(
          Array.from({ length: count }, () => {
            seq += 1;
            return [stream, start + seq, seq] as [number, number, number];
          }),
        );
      },
      async row() {
        const [rows] = await db.connection.query(
          'SELECT s.*, c.taken, c.lost FROM sinks s JOIN reading_consumers c ON c.id = s.id WHERE s.id = ?',
          [id],
        );
        return (rows as unknown[])[0];
      },
      async waiting() {
        return (await db.database.read((manager) => findStandings(manager, [id]))).get(id)?.waiting ?? 0;
      },
      set: (columns: object) =>
        db.connection.query('UPDATE sinks SET ?, version = version + 1 WHERE id = ?', [columns, id]),
    };
  }

  function startOne(settings: Partial<SinksSettings> = {}, config: Partial<SinkConfig> = {}): Sinks {
    const sinks = startSinks({
      database: db.database,
      logger: silent,
      config: { ...sinkConfig, ...config },
      conductorId: randomUUID(),
      settings: { lookEveryMs: 50, retry: { baseMs: 50, capMs: 200 }, ...settings },
    });
    cleanUps.push(() => sinks.stop(500));
    return sinks;
  }

  /** A webhook's receiver. */
  async function startReceiver(
    answer: (points: SinkPoint[], call: number) => StubAnswer | Promise<StubAnswer> = () => ({ status: 204 }),
  ) {
    const batches: number[][] = [];
    const stub = await startStub((body) => {
      const { points } = JSON.parse(body) as { points: SinkPoint[] };
      const said = answer(points, batches.length);
      batches.push(points.map(({ value }) => Number(value)));
      return said;
    });
    cleanUps.push(stub.down);
    return { ...stub, batches, values: () => batches.flat() };
  }

  async function allGone(sink: TestSink) {
    await until('nothing waits', async () => (await sink.waiting()) === 0, { timeoutMs: 20_000 });
  }

  /** Everything that left the outbox is found in one of the counts. */
  async function expectBalance(sink: TestSink, counts: Record<string, number | null>) {
    const row = await sink.row();
    expect(row).toMatchObject(counts);
    expect(row.taken).toBe(row.delivered + row.rejected + row.skipped + row.lost);
    const hops = await db.database.read((manager) => readFlow(manager, { tenantId: row.tenant_id }));
    const received = row.delivered + row.rejected + row.lost;
    expect(hops[2]).toMatchObject({ hop: 'sinks', received, stored: row.delivered, difference: 0 });
  }

  return {
    get db() {
      return db;
    },
    cleanUps,
    setUp,
    startOne,
    startReceiver,
    allGone,
    expectBalance,
  };
}
