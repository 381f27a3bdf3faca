/**
 * The only file that knows express-openapi-validator. Of its middlewares only the request validator
 * is used per request: its router compiles every path of the contract anew for each request, so an
 * operation is looked up once, at start, and the result is handed to the validator each time.
 */
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import * as OpenApiValidator from 'express-openapi-validator';
import { AppError } from '../../common/runtime/app-error.ts';
import type { OpenapiDocument, Operation } from '../openapi-document.ts';

export interface RequestValidator {
  /** Checks parameters and body of a request to this operation; throws AppError `invalid-request`. */
  forOperation(operation: Operation): Promise<RequestHandler>;
}

export interface RequestFault {
  pointer?: string;
  parameter?: string;
  detail: string;
}

type Middleware = (request: Request, response: Response, next: NextFunction) => unknown;

/** What the library leaves in `request.openapi` for its own later steps. */
interface Located {
  pathParams: Record<string, string>;
}

const maxFaults = 20;

export function createRequestValidator(document: OpenapiDocument): RequestValidator {
  // The library changes the document that it is given.
  const apiSpec = structuredClone(document) as unknown as Parameters<
    typeof OpenApiValidator.middleware
  >[0]['apiSpec'];
  const middlewares = OpenApiValidator.middleware({
    apiSpec,
    validateRequests: { allErrors: true, allowUnknownQueryParameters: false },
    validateResponses: false,
    validateSecurity: false,
    fileUploader: false,
  }) as unknown as Middleware[];
  const named = (name: string) => {
    const found = middlewares.find((each) => each.name === name);
    if (!found) throw new Error(`express-openapi-validator has no ${name} any more`);
    return found;
  };
  const locate = named('metadataMiddleware');
  const rules = describedPatterns(document);
  const validate = named('requestMiddleware');

  return {
    async forOperation(operation) {
      const located = await locateOperation(locate, operation);
      return (request, response, next) => {
        // Bodies are known to be JSON by now. The library compiles a validator per spelling of this
        // header and keeps it, and refuses a request without a body for having no media type.
        request.headers['content-type'] = 'application/json';
        Object.assign(request, { openapi: { ...located, pathParams: { ...request.params } } });
        validate(request, response, (error?: unknown) => next(error && toAppError(error, rules)));
      };
    },
  };
}

/** Asks the library's router for an operation by means of a made-up request. */
function locateOperation(locate: Middleware, operation: Operation): Promise<Located> {
  const path = operation.path.replaceAll(/\{\w+\}/g, 'x');
  const request = {
    path,
    baseUrl: '',
    originalUrl: path,
    method: operation.method.toUpperCase(),
    app: { enabled: () => false },
  } as unknown as Request & { openapi?: Located };
  return new Promise((resolve, reject) => {
    locate(request, {} as Response, (error?: unknown) => {
      if (request.openapi) resolve(request.openapi);
      else reject(new Error(`cannot prepare validation of ${operation.operationId}`, { cause: error }));
    });
  });
}

interface LibraryError {
  message: string;
  path?: string;
  status?: number;
  errors?: { path: string; message: string; errorCode?: string }[];
}

function toAppError(error: unknown, rules: ReadonlyMap<string, string>): unknown {
  const { status, errors, path, message } = error as LibraryError;
  if (status === 415) return new AppError('unsupported-media-type', 'the body must be application/json');
  if (status !== 400) return error;
  const faults = (errors ?? [{ path: path ?? '', message }]).map((each) => toFault(each, rules));
  // One place may break several rules of an anyOf; the reader needs each sentence once.
  const distinct = [...new Map(faults.map((each) => [JSON.stringify(each), each])).values()];
  return new AppError('invalid-request', 'the request does not fit the contract', {
    details: { errors: distinct.slice(0, maxFaults) },
  });
}

/** The library's path is `/body/labels/a`, `/query/limit`, `/params/board`, `/headers/if-match`. */
function toFault(
  fault: { path: string; message: string; errorCode?: string },
  rules: ReadonlyMap<string, string>,
): RequestFault {
  const match = /^\/(body|query|params|headers)(?:\/(.*))?$/s.exec(fault.path);
  const detail = readable(fault, rules);
  if (match?.[1] === 'body') return { pointer: match[2] === undefined ? '' : `/${match[2]}`, detail };
  const place = { query: 'query', params: 'path', headers: 'header' }[match?.[1] ?? ''];
  return place ? { parameter: `${place}.${match?.[2] ?? ''}`, detail } : { detail };
}

function readable(
  { message, errorCode }: { message: string; errorCode?: string },
  rules: ReadonlyMap<string, string>,
): string {
  if (errorCode?.startsWith('additionalProperties')) return 'is not a known field';
  if (message.startsWith('Unknown query parameter')) return 'is not a known parameter';
  if (message.startsWith('Empty value')) return 'must not be empty';
  const pattern = /^must match pattern "(.*)"$/s.exec(message)?.[1];
  return (pattern !== undefined && rules.get(pattern)) || message;
}

/** What the contract says in words about the patterns that it demands. */
function describedPatterns(document: OpenapiDocument): Map<string, string> {
  const rules = new Map<string, string>();
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { pattern, description } = node as { pattern?: unknown; description?: unknown };
    if (typeof pattern === 'string' && typeof description === 'string') rules.set(pattern, description);
    for (const member of Object.values(node)) visit(member);
  };
  visit(document);
  return rules;
}
