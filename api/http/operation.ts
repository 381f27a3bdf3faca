/**
 * Types of the HTTP contract, taken from the generated openapi.d.ts: what a handler gets and what it
 * may answer. Handlers know nothing of Express, but for the streaming ones.
 */
import type { Request, Response } from 'express';
import type { Principal } from '../auth/principal.ts';
import type { components, operations } from '../openapi.d.ts';
import type { RequestContext } from './request-context.ts';

export type OperationId = keyof operations;
export type Schemas = components['schemas'];

type Parameters<Id extends OperationId, In extends 'path' | 'query' | 'header'> =
  NonNullable<operations[Id]['parameters'][In]> extends never
    ? Record<never, never>
    : NonNullable<operations[Id]['parameters'][In]>;

type JsonOf<T> = T extends { content: { 'application/json': infer Body } } ? Body : never;

export type BodyOf<Id extends OperationId> = operations[Id] extends { requestBody: infer Required }
  ? JsonOf<Required>
  : operations[Id] extends { requestBody?: infer Optional }
    ? JsonOf<NonNullable<Optional>> | undefined
    : undefined;

/** The request as validated against the contract, and who sent it. */
export interface ApiRequest<Id extends OperationId = OperationId> {
  operationId: Id;
  path: Parameters<Id, 'path'>;
  query: Parameters<Id, 'query'>;
  /** Header parameters of the contract, by their lower-case names. */
  header(name: string): string | undefined;
  body: BodyOf<Id>;
  principal: Principal;
  context: RequestContext;
  /** For streaming answers only: write to `response` and answer `streamed`. */
  http: { request: Request; response: Response };
}

type ContentOf<T> = T extends { content: infer Content } ? Content[keyof Content] : undefined;
type Responses<Id extends OperationId> = operations[Id]['responses'];

/** A handler's answer: a status of the contract with its body. */
export type ApiAnswer<Id extends OperationId> =
  | {
      [Status in keyof Responses<Id> & number]: {
        status: Status;
        headers?: Record<string, string>;
      } & (ContentOf<Responses<Id>[Status]> extends undefined
        ? { body?: undefined }
        : { body: ContentOf<Responses<Id>[Status]> });
    }[keyof Responses<Id> & number]
  | typeof streamed;

/** The handler has written (or will write) the whole answer to `http.response` itself. */
export const streamed = { streamed: true } as const;

export type Handler<Id extends OperationId> = (request: ApiRequest<Id>) => Promise<ApiAnswer<Id>>;

/** One handler per operation; a resource folder gives its part as `HandlersOf<'listBoards' | …>`. */
export type Handlers = { [Id in OperationId]: Handler<Id> };
export type HandlersOf<Id extends OperationId> = Pick<Handlers, Id>;
