/**
 * Keyset paging: a page begins after the sort key of the last item before, so that it stays right
 * while rows come and go, and costs the same however far one reads. The cursor is opaque to clients.
 */
import { AppError } from '../../common/runtime/app-error.ts';

export const defaultLimit = 100;

export type CursorValue = string | number | null;

export interface PageRequest {
  limit: number;
  /** Sort key of the last item of the page before. */
  after: CursorValue[] | undefined;
}

/**
 * @param order what the list is sorted by: a cursor of another order is refused.
 * @param width how many values a cursor of this list has.
 */
export function pageRequest(
  query: { limit?: number; after?: string },
  order: string,
  width: number,
): PageRequest {
  return {
    limit: query.limit ?? defaultLimit,
    after: query.after === undefined ? undefined : parseCursor(query.after, order, width),
  };
}

/** `rows` were asked for with one more than `limit`; the extra one tells that there is a next page. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  order: string,
  toItem: (row: Row) => Item,
  toKey: (row: Row) => CursorValue[],
): { items: Item[]; next?: string } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(toItem);
  return rows.length > limit && last !== undefined
    ? { items, next: toCursor(order, toKey(last)) }
    : { items };
}

export function toCursor(order: string, key: readonly CursorValue[]): string {
  return Buffer.from(JSON.stringify([order, ...key]), 'utf8').toString('base64url');
}

function parseCursor(text: string, order: string, width: number): CursorValue[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // Not one of ours; refused below.
  }
  if (!Array.isArray(value) || value.length !== width + 1 || !value.every(isCursorValue)) {
    throw refuse('is not a `next` of this list');
  }
  const [cursorOrder, ...key] = value;
  if (cursorOrder !== order) throw refuse('belongs to another order of this list');
  return key;
}

function isCursorValue(value: unknown): value is CursorValue {
  return value === null || typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value));
}

function refuse(detail: string): AppError {
  return new AppError('invalid-request', `after ${detail}`, {
    details: { errors: [{ parameter: 'query.after', detail }] },
  });
}

/** A time from a cursor. */
export function cursorTime(value: CursorValue | undefined): Date {
  const time = new Date(typeof value === 'number' || typeof value === 'string' ? value : Number.NaN);
  if (Number.isNaN(time.getTime())) throw refuse('is not a `next` of this list');
  return time;
}
