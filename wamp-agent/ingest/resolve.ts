/** Stream and fence ids of a batch, remembered by board, so that the hot transaction only stores. */
import type { Database } from '../../common/db/database.ts';
import type { ResolvedBatch } from '../../common/db/queries/ingest-plan.ts';
import {
  declareSpool,
  findStreams,
  insertStreams,
  type StreamRow,
} from '../../common/db/queries/ingest-streams.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { agentLimits } from '../../common/wamp/agent-procedures.ts';
import type { ReadingsBatch, StreamDeclaration } from '../../common/wamp/readings.ts';

/** Whose batch it is. */
export interface BatchOwner {
  uuid: string;
  tenantId: string;
}

export interface BatchResolver {
  /** Throws `invalid-arguments` for a stream of another type, or one too many. */
  resolve(board: BatchOwner, batch: ReadingsBatch): Promise<ResolvedBatch>;
  forget(boardUuid: string): void;
}

interface Known {
  streams: Map<string, StreamRow>;
  spools: Map<string, number>;
}

const maxBoards = 20_000;
/** Of one board; a new epoch is rare. */
const maxSpools = 16;

export function createBatchResolver(database: Database): BatchResolver {
  const boards = new Map<string, Known>();

  function knownOf(boardUuid: string): Known {
    let known = boards.get(boardUuid);
    if (!known) {
      known = { streams: new Map(), spools: new Map() };
      boards.set(boardUuid, known);
      if (boards.size > maxBoards)
        for (const oldest of boards.keys()) {
          boards.delete(oldest);
          break;
        }
    }
    return known;
  }

  async function learnStreams(
    boardUuid: string,
    known: Known,
    declared: readonly StreamDeclaration[],
  ): Promise<void> {
    await database.read(async (manager) => {
      for (const row of await findStreams(manager, boardUuid)) known.streams.set(row.name, row);
      const missing = declared.filter((each) => !known.streams.has(each.name));
      if (missing.length === 0) return;
      if (known.streams.size + missing.length > agentLimits.streams)
        throw new AppError(
          'invalid-arguments',
          `streams: a board has at most ${agentLimits.streams} streams`,
          {
            details: { field: 'streams' },
          },
        );
      await insertStreams(manager, boardUuid, missing);
      for (const row of await findStreams(manager, boardUuid)) known.streams.set(row.name, row);
    });
  }

  async function spoolId(boardUuid: string, known: Known, epoch: string): Promise<number> {
    const id = known.spools.get(epoch);
    if (id !== undefined) return id;
    const spool = await database.read((manager) => declareSpool(manager, boardUuid, epoch));
    if (spool.id === 0) throw new AppError('unavailable', 'the fence of this spool could not be read');
    if (known.spools.size >= maxSpools) known.spools.clear();
    known.spools.set(epoch, spool.id);
    return spool.id;
  }

  return {
    async resolve({ uuid: boardUuid, tenantId }, batch) {
      const known = knownOf(boardUuid);
      if (batch.streams.some((each) => !known.streams.has(each.name)))
        await learnStreams(boardUuid, known, batch.streams);
      return {
        boardUuid,
        tenantId,
        epoch: batch.epoch,
        spoolId: await spoolId(boardUuid, known, batch.epoch),
        from: batch.from,
        streams: batch.streams.map((each, index) => rowOf(known, each, index)),
        readings: batch.readings,
        lostReason: batch.lost?.reason,
      };
    },
    forget: (boardUuid) => void boards.delete(boardUuid),
  };
}

function rowOf(known: Known, declared: StreamDeclaration, index: number): StreamRow {
  const row = known.streams.get(declared.name);
  if (!row) throw new AppError('internal', `stream ${declared.name} could not be made`);
  if (row.type === declared.type) return row;
  throw new AppError(
    'invalid-arguments',
    `streams[${index}]: '${declared.name}' holds ${row.type}, not ${declared.type}; a stream keeps its type`,
    { details: { field: `streams[${index}].type` } },
  );
}
