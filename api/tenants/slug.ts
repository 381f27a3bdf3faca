/** Short names for URLs and topics, made from what people call a tenant. */
import { randomToken } from '../../common/runtime/secrets.ts';

const maxLength = 63;

/** `Città di Lyon` → `citta-di-lyon`; a name without any ASCII letter or digit gets a random one. */
export function slugOf(name: string): string {
  const slug = name
    .normalize('NFKD')
    .replaceAll(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, maxLength)
    .replaceAll(/^-+|-+$/g, '');
  return slug === '' ? `tenant-${randomToken(5)}` : slug;
}

/** For when the plain slug is taken. */
export function withSuffix(slug: string): string {
  return `${slug.slice(0, maxLength - 6)}-${randomToken(3)}`;
}
