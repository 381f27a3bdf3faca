/**
 * Puts events into the outboxes of the webhooks that want them. Rows of `events` show seconds after
 * their ids were given out and in another order, so the last seconds before the cursor are read again
 * each time; that an event is put in once is a key of the table. The cursor moves in the transaction
 * of the rows that it stands for: a kill repeats, and loses nothing.
 */
import type { EntityManager } from 'typeorm';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { getDatabaseTime } from '../../common/db/queries/clock.ts';
import { insertDeliveries, type NewDelivery } from '../../common/db/queries/webhook-rows.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { TaskContext } from '../scheduler.ts';
import { createBudget } from '../tasks/chunks.ts';
import { createSeenEvents, type SeenEvents } from './seen-events.ts';

export const fanOutCursor = 'webhooks';

/** A row that takes longer than this from its INSERT to its COMMIT is missed. Events are inserted last. */
export const eventWindowMs = 5000;
/** Without events the cursor is moved this often only. */
const idleMs = 5000;
const eventsPerPage = 1000;
const runMs = 10_000;
const rowsPerStatement = 500;
const rowsPerTransaction = 4000;

export interface FanOutOptions {
  /** Rows were added. */
  onAdded: () => void;
  /** Seconds that the outboxes are behind. */
  onLag?: (seconds: number) => void;
  seen: SeenEvents;
}

export function createFanOut(
  options: Omit<FanOutOptions, 'seen'>,
): (context: TaskContext) => Promise<JsonObject> {
  const seen = createSeenEvents();
  return (context) => fanOut(context, { ...options, seen });
}

export async function fanOut(
  context: TaskContext,
  { onAdded, onLag, seen }: FanOutOptions,
): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const { now, readUntil, webhooks } = await context.database.read(readState);
  if (readUntil === undefined) {
    await context.write((manager) => moveCursor(manager, now));
    return { events: 0, added: 0, complete: true };
  }
  onLag?.(Math.max(0, now - readUntil) / 1000);
  if (webhooks.size === 0) {
    if (now - readUntil >= idleMs) await context.write((manager) => moveCursor(manager, now));
    return { events: 0, added: 0, complete: true };
  }
  const tenants = [...webhooks.keys()];
  const detail = { events: 0, added: 0, complete: false };
  let after: Position = { at: readUntil - eventWindowMs, id: 0 };
  while (!detail.complete && !budget.spent()) {
    const found = await context.database.read((manager) => readEvents(manager, tenants, after, now));
    const fresh = found.filter(({ id }) => !seen.has(id));
    const deliveries = fresh.flatMap((event) => toDeliveries(event, webhooks));
    const last = found.at(-1);
    detail.complete = found.length < eventsPerPage;
    const until = detail.complete || !last ? now : last.at;
    if (deliveries.length > 0 || until - readUntil >= idleMs)
      detail.added += await storeAll(context, deliveries, until);
    for (const event of fresh) seen.add(event);
    detail.events += fresh.length;
    if (last) after = last;
  }
  seen.forgetBefore(now - 2 * (eventWindowMs + idleMs));
  if (detail.added > 0) onAdded();
  return detail;
}

interface Position {
  /** Epoch milliseconds. */
  at: number;
  id: number;
}

interface Subscription {
  id: string;
  tenantId: string;
  types: readonly string[];
  createdAt: number;
}

async function readState(manager: EntityManager): Promise<{
  now: number;
  readUntil: number | undefined;
  webhooks: Map<string, Subscription[]>;
}> {
  const now = await getDatabaseTime(manager);
  const [cursor] = (await manager.query('SELECT read_until AS readUntil FROM event_cursors WHERE name = ?', [
    fanOutCursor,
  ])) as { readUntil: Date }[];
  const rows = (await manager.query(
    "SELECT id, tenant_id AS tenantId, types, created_at AS createdAt FROM webhooks WHERE state = 'active'",
  )) as { id: string; tenantId: string; types: string | string[]; createdAt: Date }[];
  const subscriptions = rows.map((row) => ({
    ...row,
    types: fromJsonColumn<string[]>(row.types),
    createdAt: row.createdAt.getTime(),
  }));
  return {
    now,
    readUntil: cursor?.readUntil.getTime(),
    webhooks: Map.groupBy(subscriptions, ({ tenantId }) => tenantId),
  };
}

interface EventRow extends Position {
  tenantId: string;
  type: string;
  payload: string | JsonObject;
}

/** Beyond, all events are read: most of them are wanted then. */
const namedTenants = 1000;

/** Oldest first, at most a page. */
async function readEvents(
  manager: EntityManager,
  tenants: readonly string[],
  after: Position,
  until: number,
): Promise<EventRow[]> {
  const isShort = tenants.length <= namedTenants;
  const rows = (await manager.query(
    `SELECT id, created_at AS at, tenant_id AS tenantId, type, payload FROM events
     WHERE (created_at > ? OR (created_at = ? AND id > ?)) AND created_at >= ? AND created_at <= ?
       ${isShort ? 'AND tenant_id IN (?)' : ''}
     ORDER BY created_at, id LIMIT ?`,
    [
      new Date(after.at),
      new Date(after.at),
      after.id,
      new Date(after.at),
      new Date(until),
      ...(isShort ? [tenants] : []),
      eventsPerPage,
    ],
  )) as (Omit<EventRow, 'at' | 'id'> & { at: Date; id: number | string })[];
  return rows.map((row) => ({ ...row, id: Number(row.id), at: row.at.getTime() }));
}

function toDeliveries(event: EventRow, webhooks: ReadonlyMap<string, Subscription[]>): NewDelivery[] {
  const wanting = (webhooks.get(event.tenantId) ?? []).filter(
    // What happened before a webhook was made is none of its.
    ({ types, createdAt }) => types.includes(event.type) && createdAt <= event.at,
  );
  if (wanting.length === 0) return [];
  const data = fromJsonColumn<JsonObject>(event.payload);
  const payload = {
    id: String(event.id),
    type: event.type,
    tenant: event.tenantId,
    at: new Date(event.at).toISOString(),
    data,
  };
  return wanting.map(({ id }) => ({ webhookId: id, eventId: event.id, payload }));
}

/** Transactions stay small, however many webhooks want the same; the cursor moves with the last of them. */
async function storeAll(
  context: TaskContext,
  deliveries: readonly NewDelivery[],
  until: number,
): Promise<number> {
  let added = 0;
  for (let from = 0; from === 0 || from < deliveries.length; from += rowsPerTransaction) {
    const part = deliveries.slice(from, from + rowsPerTransaction);
    const isLast = from + rowsPerTransaction >= deliveries.length;
    added += await context.write((manager) => store(manager, part, isLast ? until : undefined));
  }
  return added;
}

async function store(
  manager: EntityManager,
  deliveries: readonly NewDelivery[],
  until: number | undefined,
): Promise<number> {
  let added = 0;
  for (let from = 0; from < deliveries.length; from += rowsPerStatement)
    added += await insertDeliveries(manager, deliveries.slice(from, from + rowsPerStatement));
  if (until !== undefined) await moveCursor(manager, until);
  return added;
}

async function moveCursor(manager: EntityManager, until: number): Promise<void> {
  await manager.query(
    `INSERT INTO event_cursors (name, read_until) VALUES (?, ?)
     ON DUPLICATE KEY UPDATE read_until = GREATEST(read_until, VALUES(read_until))`,
    [fanOutCursor, new Date(until)],
  );
}
