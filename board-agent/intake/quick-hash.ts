/**
 * 128 bits of a text and bytes, for telling repetitions from other messages. Nobody gains by a
 * collision: who could make one could as well send nothing. SHA-256 costs six microseconds a call,
 * three times for each message; this one a fraction of one. Long contents go to the native hash.
 */
import { hash } from 'node:crypto';

export type QuickHash = readonly [number, number, number, number];

const longBytes = 2048;
const buffer = Buffer.alloc(16);

export function quickHash(text: string, bytes: Uint8Array): QuickHash {
  if (bytes.length + text.length > longBytes) return longHash(text, bytes);
  let first = 0xdeadbeef ^ bytes.length;
  let second = 0x41c6ce57 ^ text.length;
  let third = 0x85ebca6b;
  let fourth = 0xc2b2ae35;
  for (let index = 0; index < text.length + bytes.length; index += 1) {
    const unit = index < text.length ? text.charCodeAt(index) : (bytes[index - text.length] ?? 0);
    first = Math.imul(first ^ unit, 0x9e3779b1);
    second = Math.imul(second ^ unit, 0x5f356495);
    third = Math.imul((third << 5) ^ (third >>> 27) ^ unit, 0x27d4eb2f);
    fourth = Math.imul((fourth << 7) ^ (fourth >>> 25) ^ unit, 0x165667b1);
  }
  return [mix(first), mix(second), mix(third), mix(fourth)];
}

/** The first bytes of the same, at most 16, as characters of one byte each. */
export function quickKey(text: string, bytes: Uint8Array, length = 16): string {
  const [first, second, third, fourth] = quickHash(text, bytes);
  buffer.writeUInt32LE(first, 0);
  buffer.writeUInt32LE(second, 4);
  buffer.writeUInt32LE(third, 8);
  buffer.writeUInt32LE(fourth, 12);
  return buffer.toString('latin1', 0, length);
}

function longHash(text: string, bytes: Uint8Array): QuickHash {
  const digest = hash('sha256', Buffer.concat([Buffer.from(`${text}\n`), bytes]), 'buffer');
  return [digest.readUInt32LE(0), digest.readUInt32LE(4), digest.readUInt32LE(8), digest.readUInt32LE(12)];
}

function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
