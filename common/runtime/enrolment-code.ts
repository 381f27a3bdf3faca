/** One-time codes that people copy: groups for the eye, 160 random bits, stored as a hash. */
import { hashToken, randomToken } from './secrets.ts';

/** For example `k3vq-7yzp-…`: eight groups of four. */
export function createEnrolmentCode(): string {
  return (randomToken().match(/.{4}/g) ?? []).join('-');
}

/** What is stored of a code; groups, spaces and upper case make no difference. */
export function hashEnrolmentCode(code: string): string {
  return hashToken(code.toLowerCase().replaceAll(/[^a-z0-9]/g, ''));
}
