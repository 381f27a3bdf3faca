/** The sink that a request is about, and what is on record of its changes. */
import type { EntityManager } from 'typeorm';
import { auditChange } from '../audit/audit.ts';
import type { ApiRequest } from '../http/operation.ts';
import { getNamedAccess } from '../named-access.ts';
import type { SinkRow } from './sink-rows.ts';

export type LetterOperations =
  | 'testSink'
  | 'listSinkDeadLetters'
  | 'replaySinkDeadLetters'
  | 'dropSinkDeadLetters';

export type OneSink = 'getSink' | 'updateSink' | 'deleteSink' | 'pauseSink' | 'resumeSink' | LetterOperations;

/** Throws AppError `not-found` or `forbidden`. */
export async function findSink(manager: EntityManager, request: ApiRequest<OneSink>) {
  return getNamedAccess(manager, request, 'sinks', request.path.sink, request.query.tenant);
}

export async function auditSink(
  manager: EntityManager,
  request: ApiRequest<OneSink>,
  { id, tenant, name }: Pick<SinkRow, 'id' | 'tenant' | 'name'>,
  detail: Record<string, unknown> = {},
): Promise<void> {
  await auditChange(manager, request, {
    tenantId: tenant,
    targetKind: 'sink',
    target: id,
    detail: { name, ...detail },
  });
}
