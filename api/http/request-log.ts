/** One line and one measurement per answered request. Neither bodies nor headers nor query strings: secrets travel there. */
import type { RequestHandler } from 'express';
import type { Principal } from '../auth/principal.ts';
import type { ApiMetrics } from './metrics.ts';
import { contextOf } from './request-context.ts';

/** Asked every few seconds by machines; their lines would bury the others. */
const quiet = new Set(['getHealth', 'getReadiness', 'getMetrics']);

export function requestLog({ requestSeconds }: Pick<ApiMetrics, 'requestSeconds'>): RequestHandler {
  return (request, response, next) => {
    const context = contextOf(response);
    response.once('close', () => {
      const { operationId, principal, code } = response.locals as {
        operationId?: string;
        principal?: Principal;
        code?: string;
      };
      const durationMs = performance.now() - context.startedAt;
      requestSeconds.observe(
        { operation: operationId ?? 'none', status: String(response.statusCode) },
        durationMs / 1000,
      );
      const fields = {
        method: request.method,
        operationId,
        // Paths hold names and ids only; the query may hold anything.
        path: request.path,
        status: response.statusCode,
        problem: code,
        durationMs: Math.round(durationMs * 10) / 10,
        ...(principal && principal.kind !== 'anonymous' && { by: `${principal.kind}:${principal.id}` }),
        remoteAddress: context.remoteAddress,
        ...(response.writableFinished ? {} : { cut: true }),
      };
      if (quiet.has(operationId ?? '')) context.logger.debug(fields, 'request');
      else context.logger.info(fields, 'request');
    });
    next();
  };
}
