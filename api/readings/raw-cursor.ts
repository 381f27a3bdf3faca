/** The opaque `next` of raw pages: the window, and where each unfinished stream goes on; pure. */
import type { RawPosition } from './raw-queries.ts';
import { invalid, type Window } from './window.ts';

export interface RawCursor extends Window {
  streams: { id: number; after: RawPosition }[];
}

const version = 1;
const maxStreams = 50;

export function formatCursor({ fromAt, toAt, streams }: RawCursor): string {
  const value = [version, fromAt, toAt, ...streams.map(({ id, after }) => [id, ...after])];
  return Buffer.from(JSON.stringify(value), 'utf8').toString('base64url');
}

/** Throws AppError `invalid-request` for anything that is not a cursor of this form. */
export function parseCursor(text: string): RawCursor {
  const value = decode(text);
  const [found, fromAt, toAt, ...streams] = Array.isArray(value) ? (value as unknown[]) : [];
  const sound = isWhole(fromAt) && isWhole(toAt) && streams.length >= 1 && streams.length <= maxStreams;
  if (found !== version || !sound) throw refuse();
  return {
    fromAt,
    toAt,
    streams: streams.map((each) => {
      if (!Array.isArray(each) || each.length !== 4 || !each.every(isWhole)) throw refuse();
      const [id, at, spoolId, seq] = each as [number, number, number, number];
      // A position outside of the window would widen it.
      if (at < fromAt || at >= toAt) throw refuse();
      return { id, after: [at, spoolId, seq] };
    }),
  };
}

function decode(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw refuse();
  }
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const refuse = () => invalid('cursor', 'is not a `next` of these readings');
