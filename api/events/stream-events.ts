/** `GET /v1/events`: server-sent events of what the caller may see. */
import type { Database } from '../../common/db/database.ts';
import type { AgentDirectory } from '../../common/relay/agent-directory.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Principal } from '../auth/principal.ts';
import type { ApiMetrics } from '../http/metrics.ts';
import { type ApiRequest, type HandlersOf, streamed } from '../http/operation.ts';
import { allowsAnywhere } from '../http/permissions.ts';
import { findWatchedBoards, readFilter } from './event-boards.ts';
import { createCursorCodec } from './event-cursor.ts';
import { type EventFilter, tenantsOf, type Visibility, visibilityOf, wants } from './event-filter.ts';
import { createFrames } from './event-frames.ts';
import { openEventStream } from './event-stream.ts';
import { createEventTail } from './event-tail.ts';
import { type Listener, type Rights, startListener } from './listener.ts';
import { createLiveReadings, type ReadingsInterest } from './live-readings.ts';
import { findMissed } from './resume.ts';
import { createStreamLimit } from './stream-limit.ts';

export interface EventsOptions {
  database: Database;
  directory: AgentDirectory;
  /** For the relays, and to tell cursors of this installation. */
  relayKey: string;
  logger: Logger;
  metrics: Pick<ApiMetrics, 'eventStreams' | 'eventsSent' | 'eventStreamsCut'>;
  /** Who sends the request, read anew. */
  authenticate: (request: ApiRequest['http']['request']) => Promise<Principal>;
  /** Aborted when the process is asked to stop. */
  stopping: AbortSignal;
  streamsPerCaller?: number;
  maxWaitingBytes?: number;
}

export interface Events {
  handlers: HandlersOf<'streamEvents'>;
  stop(): Promise<void>;
}

export function createEvents(options: EventsOptions): Events {
  const { database, logger, metrics } = options;
  const codec = createCursorCodec(options.relayKey);
  const tail = createEventTail({ database, logger });
  const hub = createLiveReadings({ directory: options.directory, key: options.relayKey, logger });
  const limit = createStreamLimit(options.streamsPerCaller ?? 10);
  const parts = { tail, hub, metrics, frames: createFrames(codec.format), formatCursor: codec.format };
  const listeners = new Set<Listener>();

  async function stopAll(): Promise<void> {
    await Promise.all([...listeners].map((listener) => listener.stop()));
  }
  options.stopping.addEventListener('abort', () => void stopAll());

  async function readRights(request: ApiRequest<'streamEvents'>, filter: EventFilter): Promise<Rights> {
    const principal = await options.authenticate(request.http.request);
    const visibility = visibilityOf(principal);
    if (!allowsAnywhere('streamEvents', principal) || tenantsOf(filter, visibility)?.length === 0)
      throw new AppError('forbidden', 'there is nothing that the caller may see any more');
    return { visibility, interest: await findInterest(database, filter, visibility) };
  }

  return {
    handlers: {
      async streamEvents(request) {
        const { principal, context, http } = request;
        const { response } = http;
        const visibility = visibilityOf(principal);
        const filter = await database.read((manager) => readFilter(manager, request));
        const leave = limit.enter(`${principal.kind}:${principal.id}`);
        const stream = openEventStream({
          response,
          maxWaitingBytes: options.maxWaitingBytes ?? 1_048_576,
          onCutOff(waitingBytes) {
            metrics.eventStreamsCut.inc();
            context.logger.warn({ waitingBytes }, 'a listener was too slow and was cut off');
          },
        });
        // A browser that comes back repeats its first address; what it has seen since is in the header.
        const after = request.header('last-event-id') ?? request.query.after;
        const end = () => {
          leave();
          if (listeners.delete(listener)) metrics.eventStreams.dec();
          void listener.stop();
        };
        const listener = startListener(
          parts,
          {
            stream,
            filter,
            visibility,
            logger: context.logger,
            readRights: () => readRights(request, filter),
            catchUp:
              after === undefined
                ? undefined
                : () =>
                    findMissed(database, codec, {
                      after,
                      tenants: tenantsOf(filter, visibility),
                      now: Date.now(),
                    }),
          },
          end,
        );
        listeners.add(listener);
        metrics.eventStreams.inc();
        response.once('close', end);
        if (response.destroyed || options.stopping.aborted) end();
        return streamed;
      },
    },
    async stop() {
      await stopAll();
      await Promise.all([hub.stop(), tail.stop()]);
    },
  };
}

async function findInterest(
  database: Database,
  filter: EventFilter,
  visibility: Visibility,
): Promise<ReadingsInterest | undefined> {
  if (!wants(filter, 'readings')) return undefined;
  const boards = await database.read((manager) => findWatchedBoards(manager, filter, visibility));
  return boards ? { boards } : { tenants: tenantsOf(filter, visibility) };
}
