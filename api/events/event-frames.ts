/** Server-sent events as text. An event is formatted once, however many listen. */
import type { LiveReadings } from '../../common/relay/messages.ts';
import type { EventRecord } from './event-rows.ts';

export function formatFrame(type: string, data: object, id?: string): string {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  return `${idLine}event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}

export interface Frames {
  event(event: EventRecord): string;
  readings(readings: LiveReadings): string;
}

export function createFrames(formatCursor: (event: EventRecord) => string): Frames {
  const events = new WeakMap<EventRecord, string>();
  const readings = new WeakMap<LiveReadings, string>();
  return {
    event: (event) => remember(events, event, () => formatEvent(event, formatCursor(event))),
    readings: (each) => remember(readings, each, () => formatReadings(each)),
  };
}

function remember<K extends WeakKey>(known: WeakMap<K, string>, key: K, format: () => string): string {
  const text = known.get(key) ?? format();
  known.set(key, text);
  return text;
}

function formatEvent({ type, tenantId, boardUuid, payload }: EventRecord, cursor: string): string {
  return formatFrame(type, { ...payload, tenant: tenantId, board: boardUuid }, cursor);
}

/** No id: they are not kept, so nothing resumes after them. */
function formatReadings({ tenantId, boardUuid, readings }: LiveReadings): string {
  return formatFrame('readings', { tenant: tenantId, board: boardUuid, readings });
}
