/**
 * One id per request, in W3C trace context form, so that one search finds its lines in the api, the
 * wamp-agent and the board. A client's own `traceparent` is kept as the trace.
 */
import { randomUUID } from 'node:crypto';
import type { RequestHandler } from 'express';
import type { Logger } from '../../common/runtime/logger.ts';

export interface RequestContext {
  /** Trace id: 32 hex digits; `requestId` in log lines and problems. */
  requestId: string;
  /** The header to pass on: `00-<trace id>-<span id of this request>-<flags>`. */
  traceparent: string;
  remoteAddress: string;
  /** Carries the request id in every line. */
  logger: Logger;
  startedAt: number;
}

const pattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Trace id and flags of a valid header. */
export function parseTraceparent(header: string | undefined): { traceId: string; flags: string } | undefined {
  const match = pattern.exec(header ?? '');
  const [, traceId = '', spanId = '', flags = ''] = match ?? [];
  if (!match || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, flags };
}

export function createTraceparent(header: string | undefined): { requestId: string; traceparent: string } {
  const parent = parseTraceparent(header);
  const requestId = parent?.traceId ?? randomHex(32);
  const spanId = randomHex(16);
  return { requestId, traceparent: `00-${requestId}-${spanId}-${parent?.flags ?? '00'}` };
}

/** From randomUUID, which draws from a pool: a system call per request would show in call rates. */
function randomHex(digits: number): string {
  return randomUUID().replaceAll('-', '').slice(-digits);
}

/** Makes `response.locals.context`; the trace goes back to the client in `traceparent`. */
export function requestContext(logger: Logger): RequestHandler {
  return (request, response, next) => {
    const ids = createTraceparent(request.get('traceparent'));
    const context: RequestContext = {
      ...ids,
      remoteAddress: request.ip ?? '',
      logger: logger.child({ requestId: ids.requestId }),
      startedAt: performance.now(),
    };
    response.locals.context = context;
    response.setHeader('traceparent', ids.traceparent);
    next();
  };
}

export function contextOf(response: { locals: Record<string, unknown> }): RequestContext {
  return response.locals.context as RequestContext;
}
