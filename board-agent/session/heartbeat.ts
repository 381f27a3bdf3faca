/**
 * The board's own probe: round trip, clock offset, and finding a dead link from this side (the
 * WebSocket client cannot ping). A heartbeat that stays unanswered is followed by a probe that the
 * router answers by itself: a slow server behind a live link must not make every board reconnect.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import {
  type HeartbeatAnswer,
  type HeartbeatRequest,
  parseHeartbeatAnswer,
} from '../../common/wamp/agent-procedures.ts';
import { agentUris } from '../../common/wamp/uris.ts';
import { type Clock, pause } from '../clock.ts';
import type { Link } from './link.ts';

export interface Pulse {
  at: number;
  roundTripMs: number;
  /** Server's clock minus the board's, assuming that both ways took equally long. */
  clockOffsetMs: number;
}

export const heartbeatLimits = { answerMs: 10_000, probeMs: 5_000 } as const;

export interface HeartbeatOptions {
  link: Link;
  clock: Clock;
  logger: Logger;
  intervalMs: () => number;
  spooledReadings: () => number | undefined;
  onPulse: (pulse: Pulse) => void;
  onHelloNeeded: () => void;
}

/** Beats until the signal aborts. Drops the link when neither the server nor the router answers. */
export async function runHeartbeat(options: HeartbeatOptions, signal: AbortSignal): Promise<void> {
  const { link, clock, logger } = options;
  let last: Pulse | undefined;
  while (!signal.aborted) {
    try {
      last = await beat(options, last);
      if (last) options.onPulse(last);
    } catch (error) {
      if (signal.aborted) return;
      const silent = error instanceof AppError && error.code === 'deadline-exceeded';
      if (silent && !(await link.probe(heartbeatLimits.probeMs))) {
        link.drop('the router does not answer: the link is dead');
        return;
      }
      logger.warn({ reason: messageOf(error) }, 'heartbeat failed, the link is alive');
    }
    await pause(clock, options.intervalMs(), signal);
  }
}

async function beat(options: HeartbeatOptions, last: Pulse | undefined): Promise<Pulse | undefined> {
  const { link, clock } = options;
  const spooledReadings = options.spooledReadings();
  const sentAt = clock.now();
  const startedMs = clock.monotonicMs();
  const request: HeartbeatRequest = {
    sentAt,
    ...(last && { roundTripMs: last.roundTripMs, clockOffsetMs: last.clockOffsetMs }),
    ...(spooledReadings !== undefined && { spooledReadings }),
  };
  const answer: HeartbeatAnswer = parseHeartbeatAnswer(
    await link.call(agentUris.heartbeat, request, heartbeatLimits.answerMs),
  );
  const roundTripMs = Math.max(0, clock.monotonicMs() - startedMs);
  if (answer.helloNeeded) options.onHelloNeeded();
  return { at: sentAt, roundTripMs, clockOffsetMs: answer.serverTime - (sentAt + roundTripMs / 2) };
}
