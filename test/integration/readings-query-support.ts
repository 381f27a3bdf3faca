/** Readings put in the way that wamp-agents do, through the fence and with the marks for rollups. */
import { randomUUID } from 'node:crypto';
import type { Connection, ResultSetHeader } from 'mysql2/promise';
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { findReadingsEnd, storeBatches } from '../../common/db/queries/ingest.ts';
import { findStreams, insertStreams } from '../../common/db/queries/ingest-streams.ts';
import { findConsumers } from '../../common/db/queries/outbox.ts';
import type { ReadingTuple, StreamDeclaration } from '../../common/wamp/readings.ts';

export interface TestSpool {
  epoch: string;
  /** Streams by their place in the declaration. */
  ids: number[];
  /** Readings point into the declared streams. `skip` numbers are reported lost before them; less than 0: sent again. */
  append(readings: ReadingTuple[], skip?: number): Promise<void>;
}

export async function openSpool(
  database: Database,
  connection: Connection,
  boardUuid: string,
  declared: StreamDeclaration[],
): Promise<TestSpool> {
  const epoch = randomUUID();
  const now = new Date();
  const [spool] = await connection.query<ResultSetHeader>('INSERT INTO board_spools SET ?', [
    { board_uuid: boardUuid, epoch, created_at: now, updated_at: now },
  ]);
  const { all, newestAt, tenantId } = await database.read(async (manager) => {
    await insertStreams(manager, boardUuid, declared);
    return {
      all: await findStreams(manager, boardUuid),
      newestAt: (await findReadingsEnd(manager)) - 1,
      tenantId: await findTenant(manager, boardUuid),
    };
  });
  const streams = declared.map(({ name }) => {
    const stream = all.find((each) => each.name === name);
    if (!stream) throw new Error(`no stream ${name}`);
    return stream;
  });
  let next = 1;
  return {
    epoch,
    ids: streams.map(({ id }) => id),
    async append(readings, skip = 0) {
      const from = next + skip;
      const batch = { boardUuid, tenantId, epoch, spoolId: spool.insertId, from, streams, readings };
      const consumers = (await database.read(findConsumers)).filter((each) => each.tenantId === tenantId);
      await database.transaction((manager) =>
        storeBatches(manager, [{ ...batch, lostReason: skip > 0 ? 'spool-overflow' : undefined }], {
          newestAt,
          consumersOf: () => consumers.map(({ id }) => id),
        }),
      );
      next = from + readings.length;
    },
  };
}

async function findTenant(manager: EntityManager, boardUuid: string): Promise<string> {
  const [row] = (await manager.query('SELECT tenant_id AS id FROM boards WHERE uuid = ?', [boardUuid])) as {
    id: string;
  }[];
  if (!row) throw new Error(`no board ${boardUuid}`);
  return row.id;
}
