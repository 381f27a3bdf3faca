/** Payloads that are text. */
import { undecodable } from './decoder-kind.ts';

// A byte order mark is kept, so that places in the text stay places in the bytes.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function readText(payload: Uint8Array): string {
  try {
    return utf8.decode(payload);
  } catch (error) {
    throw undecodable('the payload is not UTF-8 text', error);
  }
}

export function readJson(payload: Uint8Array): unknown {
  const text = readText(payload);
  if (text.trim() === '') throw undecodable('the payload is empty');
  try {
    return JSON.parse(text);
  } catch (error) {
    // The parser's own message quotes the payload, which may be long.
    const place = /position \d+/.exec(error instanceof Error ? error.message : '');
    throw undecodable(`the payload is not JSON${place ? ` (at ${place[0]})` : ''}`, error);
  }
}
