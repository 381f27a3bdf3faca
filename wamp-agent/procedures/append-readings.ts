/** `boardwalk.agent.append_readings`: commit first, then acknowledge, then tell who listens. */
import type { ReadingsAck, ReadingsBatch } from '../../common/wamp/readings.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import { boardEventTopic } from '../../common/wamp/uris.ts';
import type { BoardEntry } from '../boards/directory.ts';
import type { GetCaller } from '../boards/get-caller.ts';
import type { AppendResult, Ingest } from '../ingest/ingest.ts';
import type { NewestAt } from '../ingest/newest-at.ts';
import type { ReadingsQuota } from '../ingest/readings-quota.ts';
import { type LiveHub, toLiveReadings } from '../live/hub.ts';
import type { Publisher } from '../live/publisher.ts';
import type { SignsOfLife } from '../presence/signs-of-life.ts';
import type { Settings } from '../settings.ts';

export interface AppendReadingsOptions {
  ingest: Ingest;
  hub: LiveHub;
  publisher: Publisher;
  newestAt: NewestAt;
  signs: SignsOfLife;
  settings: Settings;
  quota: Pick<ReadingsQuota, 'check' | 'count'>;
  getCaller: GetCaller;
}

export function createAppendReadings(options: AppendReadingsOptions) {
  const { hub, publisher } = options;

  function tell({ tenantId, uuid }: BoardEntry, batch: ReadingsBatch, { firstNew }: AppendResult): void {
    const topic = boardEventTopic(tenantId, uuid, 'readings');
    const isWanted = hub.wants(tenantId, uuid);
    const isPublished = publisher.hasListeners(topic);
    if (!isWanted && !isPublished) return;
    const newestAt = options.newestAt.value();
    const readings = toLiveReadings(batch, firstNew).filter((each) => each.at <= newestAt);
    if (readings.length === 0) return;
    if (isWanted) hub.send({ type: 'readings', tenantId, boardUuid: uuid, readings });
    if (isPublished) publisher.publish(topic, { board: uuid, readings });
  }

  return async (batch: ReadingsBatch, caller: Caller): Promise<ReadingsAck> => {
    const board = await options.getCaller(caller);
    if (batch.readings.length > 0) await options.quota.check(board.tenantId);
    const result = await options.ingest.append(board, batch);
    options.quota.count(board.tenantId, batch.readings.length - result.firstNew);
    options.signs.note(board.uuid, 'readings');
    // After the answer is on its way: listeners never slow an acknowledgement.
    setImmediate(tell, board, batch, result);
    return { ackedSeq: result.ackedSeq, batchIntervalMs: options.settings.batchIntervalMs(board.uuid) };
  };
}
