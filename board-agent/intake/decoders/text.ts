/** Payloads that are text. */
import { undecodable } from './decoder-kind.ts';

// A byte order mark is kept, so that places in the text stay places in the bytes.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `what` is how errors call it. */
export function readText(payload: Uint8Array, what = 'the payload'): string {
  try {
    return utf8.decode(payload);
  } catch (error) {
    throw undecodable(`${what} is not UTF-8 text`, error);
  }
}

/** `what` is how errors call it. */
export function readJson(payload: Uint8Array, what = 'the payload'): unknown {
  const text = readText(payload, what);
  if (text.trim() === '') throw undecodable(`${what} is empty`);
  try {
    return JSON.parse(text);
  } catch (error) {
    // The parser's own message quotes the payload, which may be long.
    const place = /position \d+/.exec(error instanceof Error ? error.message : '');
    throw undecodable(`${what} is not JSON${place ? ` (at ${place[0]})` : ''}`, error);
  }
}
