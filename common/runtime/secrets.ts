/** Tokens and codes: made with 160 random bits, stored as SHA-256, compared in constant time. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const base32 = 'abcdefghijklmnopqrstuvwxyz234567';

/** Random text of lower-case base32, `bytes` bytes of entropy (20 bytes = 32 characters). */
export function randomToken(bytes = 20): string {
  let bits = 0n;
  for (const byte of randomBytes(bytes)) bits = (bits << 8n) | BigInt(byte);
  const length = Math.ceil((bytes * 8) / 5);
  let text = '';
  for (let index = 0; index < length; index += 1) {
    text = base32.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return text;
}

/** What is stored instead of a token or code: lower-case hex, 64 characters. */
export function hashToken(token: string): string {
  return createHash('sha256').update(token, 'utf8').digest('hex');
}

/** Constant-time comparison of two texts of any length. */
export function secretsEqual(left: string, right: string): boolean {
  return timingSafeEqual(Buffer.from(hashToken(left), 'hex'), Buffer.from(hashToken(right), 'hex'));
}
