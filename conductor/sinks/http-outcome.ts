/** What an HTTP answer means for the points of its request. */
import type { PostOutcome } from '../webhooks/post.ts';
import type { SendOutcome } from './bisect.ts';

/** No point is at fault: a login, an address, a time-out, or a busy server. */
const notThePoints = new Set([401, 402, 403, 404, 405, 407, 408, 421, 425, 426, 429]);

export function toSendOutcome({ ok, status, error, isSent, retryAfterMs }: PostOutcome): SendOutcome {
  if (ok) return { outcome: 'taken' };
  const reason = error ?? `answered ${status}`;
  if (status !== null && status >= 400 && status < 500 && !notThePoints.has(status))
    return { outcome: 'refused', reason, isTooLarge: status === 413 };
  const isOpen = status === null ? isSent === true : status >= 500;
  return { outcome: 'retry', reason, afterMs: retryAfterMs, isOpen };
}
