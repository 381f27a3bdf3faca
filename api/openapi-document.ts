/** The contract as data: read once at start, for mounting, validating and serving. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { OperationId } from './http/operation.ts';

export interface OpenapiDocument {
  openapi: string;
  paths: Record<string, Record<string, unknown>>;
  [member: string]: unknown;
}

export interface Operation {
  operationId: OperationId;
  /** Lower case. */
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** `/v1/boards/{board}` */
  path: string;
  takesBody: boolean;
  /** Media types of successful answers. */
  produces: string[];
}

const methods = ['get', 'post', 'put', 'patch', 'delete'] as const;

export function loadOpenapiDocument(): OpenapiDocument {
  return parse(readFileSync(new URL('./openapi.yaml', import.meta.url), 'utf8')) as OpenapiDocument;
}

interface OperationObject {
  operationId: OperationId;
  requestBody?: unknown;
  responses: Record<string, { content?: Record<string, unknown> }>;
}

export function listOperations(document: OpenapiDocument): Operation[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    methods
      .filter((method) => item[method] !== undefined)
      .map((method) => {
        const operation = item[method] as OperationObject;
        const produces = Object.entries(operation.responses)
          .filter(([status]) => status.startsWith('2'))
          .flatMap(([, answer]) => Object.keys(answer.content ?? {}));
        return {
          operationId: operation.operationId,
          method,
          path,
          takesBody: operation.requestBody !== undefined,
          produces,
        };
      }),
  );
}
