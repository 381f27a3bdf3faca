/** Every refusal as RFC 9457 problem+json. Never a stack, never a message that was not written for clients. */
import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import { isBrokenReference } from '../../common/db/fault-kind.ts';
import { AppError, type ErrorCode, statusOf } from '../../common/runtime/app-error.ts';
import type { RequestContext } from './request-context.ts';

const titles: Partial<Record<ErrorCode, string>> = {
  'invalid-request': 'The request is not valid',
  unauthenticated: 'Sign in first',
  'invalid-credentials': 'User name or password is wrong',
  forbidden: 'Not allowed',
  'not-found': 'Not found',
  internal: 'Something went wrong on our side',
};

export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  requestId?: string;
  [member: string]: unknown;
}

/** Members that the standard or this project give a meaning; details must not overwrite them. */
const reserved = ['type', 'title', 'status', 'code', 'detail', 'requestId'];

export function toProblem(error: AppError, requestId?: string): Problem {
  const { code } = error;
  const details = Object.fromEntries(
    Object.entries(error.details).filter(
      ([name]) => !reserved.includes(name) && name !== 'retryAfterSeconds',
    ),
  );
  return {
    type: 'about:blank',
    title: titles[code] ?? sentence(code),
    status: statusOf(code),
    code,
    detail: error.message,
    ...(requestId !== undefined && { requestId }),
    ...details,
  };
}

function sentence(code: ErrorCode): string {
  const words = code.replaceAll('-', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What a thrown thing is to a client: AppErrors as they are, faults of the parsers by their kind, the rest hidden. */
export function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isBrokenReference(error))
    return new AppError('conflict', 'something that this depends on changed at the same moment', {
      cause: error,
    });
  const { type, status } = (error ?? {}) as { type?: string; status?: number };
  if (type === 'entity.too.large')
    return new AppError('payload-too-large', 'the body must have at most 1 MiB', { cause: error });
  if (type === 'entity.parse.failed')
    return new AppError('invalid-request', 'the body is not JSON', {
      cause: error,
      details: { errors: [{ pointer: '', detail: 'is not JSON' }] },
    });
  if (type === 'charset.unsupported' || type === 'encoding.unsupported')
    return new AppError('unsupported-media-type', 'the body must be JSON in UTF-8', { cause: error });
  // Express and the body parser: a path that cannot be decoded, a request cut off in its body.
  if (status === 400) return new AppError('invalid-request', 'the request cannot be read', { cause: error });
  return new AppError('internal', 'an unexpected error; the log has it under this request id', {
    cause: error,
  });
}

export function sendProblem(response: Response, error: AppError, context?: RequestContext): void {
  // The database may take some seconds to come back; clients need not find out how few by trying.
  const { retryAfterSeconds = error.code === 'unavailable' ? 2 : undefined } = error.details;
  if (typeof retryAfterSeconds === 'number')
    response.setHeader('Retry-After', String(Math.ceil(retryAfterSeconds)));
  if (statusOf(error.code) === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="boardwalk"');
  response.locals.code = error.code;
  response
    .status(statusOf(error.code))
    .type('application/problem+json')
    .send(JSON.stringify(toProblem(error, context?.requestId)));
}

export function problemHandler(): ErrorRequestHandler {
  return (thrown, _request, response, _next) => {
    const error = asAppError(thrown);
    const context = response.locals.context as RequestContext | undefined;
    if (error.code === 'internal') context?.logger.error({ err: error.cause ?? error }, 'request failed');
    if (error.code === 'unavailable')
      context?.logger.warn({ err: error.cause ?? error }, 'request refused, a part is unavailable');
    if (response.headersSent) {
      // Too late for a status: a cut connection is the only honest sign left.
      response.destroy();
      return;
    }
    sendProblem(response, error, context);
  };
}

/** For whatever no route took. */
export function unknownRoute(): RequestHandler {
  return () => {
    throw new AppError('not-found', 'there is no such route');
  };
}
