/**
 * Who may post. The listener is for programs on this host; a web page in a browser on it is not one
 * of them, although it can send requests here: browsers say `Origin`, and a name that was made to
 * point here is not ours.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { type Answer, refusal } from './answers.ts';

export interface GuardOptions {
  token: string | undefined;
  /** Names that requests may be addressed to; undefined = any (a Unix socket has none). */
  hosts: ReadonlySet<string> | undefined;
}

/** undefined = the request may pass. */
export function findRefusal({ headers }: IncomingMessage, options: GuardOptions): Answer | undefined {
  if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined)
    return refusal(403, 'forbidden', 'requests of web pages are not taken');
  if (options.hosts && !options.hosts.has(nameOf(headers.host)))
    return refusal(403, 'forbidden', 'the request is addressed to another host');
  if (options.token === undefined) return undefined;
  const shown = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1] ?? '';
  if (timingSafeEqual(digest(shown), digest(options.token))) return undefined;
  return {
    ...refusal(401, 'unauthenticated', 'a valid token is needed: Authorization: Bearer …'),
    headers: { 'www-authenticate': 'Bearer' },
  };
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Without port and brackets. */
function nameOf(host = ''): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}
