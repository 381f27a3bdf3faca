/**
 * The opaque `id:` of an event: when the row was made and its id, with a keyed check, so that a cursor
 * of another installation or an invented one is told from an old one. `id` is 0 in a beat's cursor,
 * which only says up to when the listener has been served.
 */
import { createHmac } from 'node:crypto';
import { secretsEqual } from '../../common/runtime/secrets.ts';

export interface EventPosition {
  /** Epoch milliseconds by the database's clock. */
  at: number;
  id: number;
}

export interface CursorCodec {
  format(position: EventPosition): string;
  /** undefined for anything that this installation has not formatted. */
  parse(cursor: string): EventPosition | undefined;
}

export function createCursorCodec(secret: string): CursorCodec {
  const check = (text: string) =>
    createHmac('sha256', secret).update(`event-cursor:${text}`).digest('base64url').slice(0, 11);
  return {
    format({ at, id }) {
      const text = `${at.toString(36)}.${id.toString(36)}`;
      return `${text}.${check(text)}`;
    },
    parse(cursor) {
      const [, text, at, id, given] = /^(([0-9a-z]{1,9})\.([0-9a-z]{1,11}))\.([\w-]{11})$/.exec(cursor) ?? [];
      if (text === undefined || given === undefined || !secretsEqual(given, check(text))) return undefined;
      return { at: Number.parseInt(at ?? '', 36), id: Number.parseInt(id ?? '', 36) };
    },
  };
}
