/**
 * Keyset paging: a page begins after the sort key of the last item before, so that it stays right
 * while rows come and go, and costs the same however far one reads. The cursor is opaque to clients.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import { isUuid } from '../../common/runtime/guards.ts';

export const defaultLimit = 100;

export type CursorValue = string | number | null;

/**
 * What may stand in each place of a cursor. Clients can write cursors of their own, and the database
 * refuses to compare its columns with some values.
 */
const kinds = {
  text: (value: unknown) => typeof value === 'string' && value.isWellFormed(),
  uuid: isUuid,
  number: Number.isSafeInteger,
  /** Epoch milliseconds, as far as a DATETIME goes; null = never. */
  time: (value: unknown) =>
    value === null || (Number.isSafeInteger(value) && Math.abs(value as number) <= latestTime),
} satisfies Record<string, (value: unknown) => boolean>;
export type CursorKind = keyof typeof kinds;

const latestTime = Date.UTC(9999, 11, 31);

export interface PageRequest {
  limit: number;
  /** Sort key of the last item of the page before. */
  after: CursorValue[] | undefined;
}

/**
 * @param order what the list is sorted by: a cursor of another order is refused.
 * @param shape what a cursor of this list is made of.
 */
export function pageRequest(
  query: { limit?: number; after?: string },
  order: string,
  shape: readonly CursorKind[],
): PageRequest {
  return {
    limit: query.limit ?? defaultLimit,
    after: query.after === undefined ? undefined : parseCursor(query.after, order, shape),
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

function parseCursor(text: string, order: string, shape: readonly CursorKind[]): CursorValue[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    // Not one of ours; refused below.
  }
  if (!Array.isArray(value) || value.length !== shape.length + 1)
    throw refuse('is not a `next` of this list');
  const [cursorOrder, ...key] = value as unknown[];
  if (cursorOrder !== order) throw refuse('belongs to another order of this list');
  if (!shape.every((kind, index) => kinds[kind](key[index]))) throw refuse('is not a `next` of this list');
  return key as CursorValue[];
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
