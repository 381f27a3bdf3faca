/**
 * Puts the contract's operations on routes. The order for every one of them: who is it, may they do
 * this at all, can we answer in the wanted form, is the body readable, does it fit the contract; only
 * then the handler runs. So nothing is read from strangers, and handlers meet valid requests only.
 */
import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import { AppError } from '../../common/runtime/app-error.ts';
import { anonymous, type Principal } from '../auth/principal.ts';
import { listOperations, type OpenapiDocument, type Operation } from '../openapi-document.ts';
import { jsonBody } from './json-body.ts';
import type { ApiAnswer, ApiRequest, Handler, Handlers, OperationId } from './operation.ts';
import { allowsAnywhere, permissions } from './permissions.ts';
import { contextOf } from './request-context.ts';
import type { RequestValidator } from './validator.ts';

export interface MountOptions {
  document: OpenapiDocument;
  validator: RequestValidator;
  handlers: Handlers;
  /** Finds out who sends a request; throws AppError `unauthenticated` for bad credentials. */
  authenticate(request: Request, operationId: OperationId): Promise<Principal>;
  /** Further checks of single operations, once the request is known to be valid. */
  guards: Partial<Record<OperationId, RequestHandler[]>>;
  /** Told of every refusal for lack of permission. */
  onForbidden(operationId: OperationId, principal: Principal, response: Response): Promise<void>;
}

export async function mountOperations(options: MountOptions): Promise<Router> {
  const operations = listOperations(options.document);
  checkComplete(options, operations);
  // Strict about case: two spellings of one path would be two audit trails.
  const router = Router({ caseSensitive: true, strict: true });
  for (const path of new Set(operations.map((each) => each.path))) {
    const route = router.route(path.replaceAll(/\{(\w+)\}/g, ':$1'));
    const here = operations.filter((each) => each.path === path);
    for (const operation of here) {
      const handler = options.handlers[operation.operationId] as unknown as Handler<OperationId>;
      route[operation.method](
        admit(options, operation),
        ...(operation.takesBody ? jsonBody() : []),
        await options.validator.forOperation(operation),
        ...(options.guards[operation.operationId] ?? []),
        (request: Request, response: Response) => run(options, operation, handler, request, response),
      );
    }
    const allow = here.map((each) => each.method.toUpperCase());
    route.all((request: Request, response: Response) => {
      response.setHeader('Allow', [...allow, ...(allow.includes('GET') ? ['HEAD'] : [])].join(', '));
      throw new AppError('method-not-allowed', `${request.method} is not possible here`);
    });
  }
  return router;
}

function checkComplete({ handlers }: MountOptions, operations: readonly Operation[]): void {
  const known = operations.map((each) => each.operationId);
  const missing = known.filter((id) => !handlers[id]);
  const stray = Object.keys(handlers).filter((id) => !known.includes(id as OperationId));
  const open = known.filter((id) => !Object.hasOwn(permissions, id));
  const faults = [
    ...missing.map((id) => `${id} has no handler`),
    ...stray.map((id) => `${id} is not in the contract`),
    ...open.map((id) => `${id} has no permission`),
  ];
  if (faults.length > 0) throw new Error(`the HTTP contract is not met: ${faults.join('; ')}`);
}

/** Everything that can be decided before a body is read. */
function admit(options: MountOptions, operation: Operation) {
  const { operationId } = operation;
  const open = permissions[operationId].roles === 'everyone';
  return async (request: Request, response: Response, next: NextFunction) => {
    response.locals.operationId = operationId;
    const principal = open ? anonymous : await options.authenticate(request, operationId);
    response.locals.principal = principal;
    if (!open && !allowsAnywhere(operationId, principal)) {
      if (principal.kind === 'anonymous') throw new AppError('unauthenticated', 'sign in first');
      await options.onForbidden(operationId, principal, response);
      throw new AppError('forbidden', `you may not ${operationId}`);
    }
    const { produces } = operation;
    // Express asks the GET handler for HEAD as well; an endless answer would never come to its end.
    if (request.method === 'HEAD' && produces.includes('text/event-stream'))
      throw new AppError('method-not-allowed', 'HEAD is not possible here');
    if (produces.length > 0 && !request.accepts([...produces, 'application/problem+json']))
      throw new AppError('not-acceptable', `this answers with ${produces.join(' or ')}`);
    next();
  };
}

async function run(
  options: MountOptions,
  operation: Operation,
  handler: Handler<OperationId>,
  request: Request,
  response: Response,
): Promise<void> {
  const { operationId } = operation;
  const apiRequest = {
    operationId,
    path: request.params,
    query: request.query,
    header: (name: string) => request.get(name),
    body: request.body as unknown,
    principal: response.locals.principal as Principal,
    context: contextOf(response),
    http: { request, response },
  } as unknown as ApiRequest<OperationId>;
  try {
    send(operation, response, await handler(apiRequest));
  } catch (error) {
    if (error instanceof AppError && error.code === 'forbidden')
      await options.onForbidden(operationId, apiRequest.principal, response);
    throw error;
  }
}

/** What all of the typed answers look like from here. */
interface AnyAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: unknown;
}

function send(operation: Operation, response: Response, typed: ApiAnswer<OperationId>): void {
  if ('streamed' in typed) return;
  const answer: AnyAnswer = typed;
  response.status(answer.status);
  for (const [name, value] of Object.entries(answer.headers ?? {})) response.setHeader(name, value);
  if (answer.body === undefined) response.end();
  else if (typeof answer.body === 'string')
    response.type(operation.produces[0] ?? 'text/plain').send(answer.body);
  else response.type('application/json').send(JSON.stringify(answer.body));
}
