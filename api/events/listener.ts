/**
 * One listener of `GET /v1/events`:
 *   catching up  rows that the tail gives are held back until what was missed has been sent;
 *   following    rows and readings go out as they come, each checked against what the caller may see;
 *   over         the client left, was too slow, or lost its rights.
 * Rights are read anew every few seconds, so that a revoked key or a lost membership ends in time.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import { every } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ApiMetrics } from '../http/metrics.ts';
import { type EventFilter, passes, type Visibility, wants } from './event-filter.ts';
import { type Frames, formatFrame } from './event-frames.ts';
import type { EventRecord } from './event-rows.ts';
import type { EventStream } from './event-stream.ts';
import type { EventTail } from './event-tail.ts';
import type { LiveReadingsHub, ReadingsInterest, ReadingsSubscription } from './live-readings.ts';
import type { Resume } from './resume.ts';

export interface ListenerParts {
  tail: EventTail;
  hub: LiveReadingsHub;
  frames: Frames;
  metrics: Pick<ApiMetrics, 'eventsSent'>;
  formatCursor: (position: { at: number; id: number }) => string;
}

export interface Rights {
  visibility: Visibility;
  /** undefined = no readings are wanted. */
  interest: ReadingsInterest | undefined;
}

export interface ListenerOptions {
  stream: EventStream;
  filter: EventFilter;
  visibility: Visibility;
  logger: Logger;
  /** What the caller may see by now. Throws AppError `unauthenticated` or `forbidden` when that is nothing. */
  readRights: () => Promise<Rights>;
  /** What was missed since the cursor that the client gave; undefined = it begins with now. */
  catchUp: (() => Promise<Resume>) | undefined;
}

export interface Listener {
  stop(): Promise<void>;
}

const beatMs = 10_000;
/** The contract says 5 s; a read takes its time too. */
const rightsMs = 4000;
/** Rights that could not be read for this long, because the database is away, count as lost. */
const rightsLastMs = 30_000;
/** Events written before the client's reading is waited for, while it catches up. */
const partSize = 200;
/** Events that may wait until a client has caught up. */
const maxHeld = 5000;

/** Calls `onOver` when it ends by itself. */
export function startListener(parts: ListenerParts, options: ListenerOptions, onOver: () => void): Listener {
  const { stream, filter } = options;
  let { visibility } = options;
  let interest: ReadingsInterest | undefined;
  let readings: ReadingsSubscription | undefined;
  let rightsReadAt = performance.now();
  let over = false;

  const follow = startFollowing(parts, options, {
    isVisible: (event) => passes(filter, visibility, event),
    onSent(event) {
      // A board that was not there when the watched boards were listed: list them again.
      const isNew =
        interest && 'boards' in interest && event.boardUuid && !interest.boards.includes(event.boardUuid);
      if (isNew) void renewRights().catch(() => undefined);
    },
  });

  async function renewRights(): Promise<void> {
    try {
      const rights = await options.readRights();
      if (over) return;
      rightsReadAt = performance.now();
      ({ visibility, interest } = rights);
      if (interest === undefined) return;
      if (readings !== undefined) readings.change(interest);
      else {
        readings = parts.hub.subscribe(interest, (fresh) => {
          if (!passes(filter, visibility, fresh)) return;
          parts.metrics.eventsSent.inc({ type: 'readings' });
          stream.write(parts.frames.readings(fresh));
        });
      }
    } catch (error) {
      const isLost =
        error instanceof AppError && (error.code === 'unauthenticated' || error.code === 'forbidden');
      if (isLost || performance.now() - rightsReadAt > rightsLastMs) onOver();
      else throw error;
    }
  }

  const beat = () => {
    const at = parts.tail.servedUntil();
    const cursor = at === undefined || !follow.isFollowing() ? undefined : parts.formatCursor({ at, id: 0 });
    stream.write(formatFrame('beat', { at: new Date().toISOString() }, cursor));
  };
  const beats = setInterval(beat, beatMs);
  const rights = every(
    { name: 'rights of a listener', intervalMs: rightsMs, logger: options.logger },
    renewRights,
  );
  void follow.caughtUp.then(beat, (error: unknown) => {
    options.logger.warn({ err: error }, 'a listener could not catch up');
    onOver();
  });

  return {
    async stop() {
      if (over) return;
      over = true;
      clearInterval(beats);
      follow.stop();
      readings?.stop();
      stream.end();
      await rights.stop();
    },
  };
}

interface Following {
  caughtUp: Promise<void>;
  isFollowing(): boolean;
  stop(): void;
}

/** The rows' part: held back first, then what was missed, then as they come. */
function startFollowing(
  { tail, frames, metrics }: ListenerParts,
  { stream, filter, catchUp }: ListenerOptions,
  hooks: { isVisible(event: EventRecord): boolean; onSent(event: EventRecord): void },
): Following {
  const caughtUpWith = new Set<number>();
  let held: EventRecord[] | undefined = [];

  function send(event: EventRecord): void {
    if (!wants(filter, event.type) || !hooks.isVisible(event)) return;
    metrics.eventsSent.inc({ type: event.type });
    stream.write(frames.event(event));
    hooks.onSent(event);
  }
  const tailing = tail.listen((event) => {
    if (held === undefined) {
      if (!caughtUpWith.has(event.id)) send(event);
    } else if (held.length < maxHeld) held.push(event);
    else stream.cutOff();
  });

  async function run(): Promise<void> {
    await tailing.ready;
    const missed = await catchUp?.();
    if (missed && 'resync' in missed) stream.write(formatFrame('resync', { reason: missed.resync }));
    const old = missed && 'events' in missed ? missed.events : [];
    for (const { id } of old) caughtUpWith.add(id);
    await sendInParts(old);
    const since = held ?? [];
    while (since.length > 0) await sendInParts(since.splice(0).filter(({ id }) => !caughtUpWith.has(id)));
    held = undefined;
  }

  /** All at once would be more than may wait for a client, however fast it reads. */
  async function sendInParts(events: readonly EventRecord[]): Promise<void> {
    for (let from = 0; from < events.length; from += partSize) {
      for (const event of events.slice(from, from + partSize)) send(event);
      await stream.drained();
    }
  }

  return { caughtUp: run(), isFollowing: () => held === undefined, stop: () => tailing.stop() };
}
