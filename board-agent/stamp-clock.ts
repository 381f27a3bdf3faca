/**
 * What readings are dated with: the host's clock, and while that is a minute or more beside the server's,
 * the server's as this board knows it. A gateway without a battery starts in another year, and a clock
 * that is set by hand jumps; readings dated so would be a backlog of yesterday's, or tomorrow's.
 */
import type { Logger } from '../common/runtime/logger.ts';
import type { Clock } from './clock.ts';
import type { ServerClock } from './server-clock.ts';

/** Apart so far it is wrong, until it is so near again: not to and fro at the limit. */
export const clockLimits = { wrongMs: 60_000, rightMs: 30_000 } as const;

/** `now` alone is another one than the host's. */
export function createStampClock(
  host: Clock,
  serverClock: Pick<ServerClock, 'now' | 'isKnown'>,
  logger: Logger,
): Clock {
  let isWrong = false;

  function now(): number {
    const hostNow = host.now();
    if (!serverClock.isKnown()) return hostNow;
    const serverNow = serverClock.now();
    const apartMs = Math.abs(hostNow - serverNow);
    if (apartMs >= clockLimits.wrongMs && !isWrong) {
      isWrong = true;
      logger.warn(
        { aheadMs: hostNow - serverNow },
        'the clock of this host is wrong: readings are dated by the server’s',
      );
    } else if (apartMs < clockLimits.rightMs && isWrong) {
      isWrong = false;
      logger.info({}, 'the clock of this host is right again: readings are dated by it');
    }
    return isWrong ? serverNow : hostNow;
  }

  return { ...host, now };
}
