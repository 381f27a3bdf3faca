/** Readings put in the way that wamp-agents do, through the fence and with the marks for rollups. */
import { randomUUID } from 'node:crypto';
import type { Connection, ResultSetHeader } from 'mysql2/promise';
import type { Database } from '../../common/db/database.ts';
import { findReadingsEnd, storeBatches } from '../../common/db/queries/ingest.ts';
import { findStreams, insertStreams } from '../../common/db/queries/ingest-streams.ts';
import type { ReadingTuple, StreamDeclaration } from '../../common/wamp/readings.ts';

export interface TestSpool {
  epoch: string;
  /** Streams by their place in the declaration. */
  ids: number[];
  /** Readings point into the declared streams. `skip` numbers are reported lost before them. */
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
  const { all, newestAt } = await database.read(async (manager) => {
    await insertStreams(manager, boardUuid, declared);
    return {
      all: await findStreams(manager, boardUuid),
      newestAt: (await findReadingsEnd(manager)) - 1,
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
      const batch = { boardUuid, epoch, spoolId: spool.insertId, from, streams, readings };
      await database.transaction((manager) =>
        storeBatches(manager, [{ ...batch, lostReason: skip > 0 ? 'spool-overflow' : undefined }], {
          newestAt,
        }),
      );
      next = from + readings.length;
    },
  };
}
