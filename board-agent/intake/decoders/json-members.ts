/**
 * Where the members of a JSON object are in its bytes. A signature covers the bytes that were sent,
 * and parsing and writing again would not give them back. Only for text that has been parsed
 * without a fault: brackets and quotes are then known to match.
 */
import { undecodable } from './decoder-kind.ts';

export interface MemberBytes {
  name: string;
  /** The value without white space around it; a view. */
  bytes: Uint8Array;
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const opening = [0x7b, 0x5b];
const closing = [0x7d, 0x5d];

/** Members of the outermost object, in order. Throws when a name occurs twice: which one is meant? */
export function findMembers(json: Uint8Array): MemberBytes[] {
  const members: MemberBytes[] = [];
  const names = new Set<string>();
  let at = skipSpace(json, skipSpace(json, 0) + 1);
  while (json[at] === quote) {
    const nameEnd = skipString(json, at);
    const name = JSON.parse(Buffer.from(json.subarray(at, nameEnd)).toString()) as string;
    if (names.has(name)) throw undecodable(`'${name.slice(0, 60)}' occurs twice`);
    names.add(name);
    const start = skipSpace(json, skipSpace(json, nameEnd) + 1);
    const end = skipValue(json, start);
    members.push({ name, bytes: json.subarray(start, end) });
    at = skipSpace(json, end);
    if (json[at] === comma) at = skipSpace(json, at + 1);
  }
  return members;
}

function skipSpace(json: Uint8Array, from: number): number {
  let at = from;
  while (isSpace(json[at])) at += 1;
  return at;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function skipString(json: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
  return at + 1;
}

function skipValue(json: Uint8Array, from: number): number {
  let at = from;
  let depth = 0;
  while (at < json.length) {
    const byte = json[at] ?? 0;
    if (byte === quote) at = skipString(json, at);
    else if (depth === 0 && (byte === comma || closing.includes(byte) || isSpace(byte))) return at;
    else {
      if (opening.includes(byte)) depth += 1;
      if (closing.includes(byte)) depth -= 1;
      at += 1;
    }
    if (depth === 0 && (byte === quote || closing.includes(byte))) return at;
  }
  return at;
}
