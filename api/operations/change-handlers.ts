/** What is done to operations that are there: cancel, retry, resolve, and the steps of rollouts. */
import type { Database } from '../../common/db/database.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { findChosenBoards } from '../../common/db/queries/open-targets.ts';
import { cancelTargets, stopPreparing, stopRollout } from '../../common/db/queries/operation-cancel.ts';
import { commandRollout } from '../../common/db/queries/rollouts.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { WakeClient } from '../../common/wake/wake-client.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import type { ApiRequest, HandlersOf, Schemas } from '../http/operation.ts';
import { getOperationForChange, type OperationAccess } from './access.ts';
import { evidenceOf } from './actor.ts';
import { readOperation } from './operation-queries.ts';
import { parseDeadline } from './operation-request.ts';
import { askJournals } from './resolve.ts';
import { retryTargets } from './retry.ts';

type Changes =
  | 'cancelOperation'
  | 'retryOperation'
  | 'resolveOperation'
  | 'pauseOperation'
  | 'resumeOperation'
  | 'approveOperation';
type ChangeRequest = ApiRequest<Changes>;

export function createOperationChangeHandlers({ database }: ApiDeps, wake: WakeClient): HandlersOf<Changes> {
  const find = (request: ChangeRequest) =>
    database.read((manager) => getOperationForChange(manager, request));
  const chosen = (id: string, boards: readonly string[] | undefined) =>
    database.read((manager) => findChosenBoards(manager, id, boards));
  const read = (id: string): Promise<Schemas['Operation']> =>
    database.read((manager) => readOperation(manager, id));

  async function steer(
    request: ChangeRequest,
    command: 'pause' | 'resume' | 'approve',
  ): Promise<{ status: 200; body: Schemas['Operation'] }> {
    const operation = await find(request);
    const { id } = operation;
    if (operation.delivery !== 'rollout') throw new AppError('conflict', 'the operation is no rollout');
    await database.transaction(async (manager) => {
      const events = await commandRollout(manager, id, command, creatorOf(request.principal));
      await auditOf(manager, request, operation);
      await appendEvents(manager, events);
    });
    wake.wake({ operations: [id], boards: [] });
    return { status: 200, body: await read(id) };
  }

  return {
    async cancelOperation(request) {
      const operation = await find(request);
      const { id, state, delivery } = operation;
      if (state !== 'active' && state !== 'preparing')
        throw new AppError('operation-ended', `the operation has ended: ${state}`, { details: { state } });
      const evidence = evidenceOf(request);
      const boards = await chosen(id, request.body?.boards);
      await database.transaction((manager) => auditOf(manager, request, operation));
      const isOver =
        state === 'preparing' && (await stopPreparing(database, operation, { boards, evidence }));
      if (boards === null && delivery === 'rollout')
        await stopRollout(database, id, creatorOf(request.principal));
      const { told, ended } = isOver
        ? { told: [], ended: true }
        : await cancelTargets(database, operation, { boards, evidence });
      wake.wake({ operations: [id], boards: told }, { everybody: ended });
      return { status: 200, body: await read(id) };
    },

    async retryOperation(request) {
      const operation = await find(request);
      const { states = ['failed', 'expired'], deadline } = request.body ?? {};
      const deadlineAt = deadline === undefined ? undefined : parseDeadline(deadline, Date.now());
      const boards = await chosen(operation.id, request.body?.boards);
      const evidence = evidenceOf(request);
      const queued = await retryTargets(database, operation, { states, boards, deadlineAt, evidence });
      await database.transaction((manager) => auditOf(manager, request, operation));
      wake.wake({ operations: [operation.id], boards: queued });
      return { status: 200, body: await read(operation.id) };
    },

    async resolveOperation(request) {
      const operation = await find(request);
      const boards = await askJournals(database, operation, evidenceOf(request));
      await database.transaction((manager) => auditOf(manager, request, operation));
      wake.wake({ operations: [operation.id], boards });
      return { status: 202, body: await read(operation.id) };
    },

    pauseOperation: (request) => steer(request, 'pause'),
    resumeOperation: (request) => steer(request, 'resume'),
    approveOperation: (request) => steer(request, 'approve'),
  };
}

function auditOf(
  manager: Parameters<Parameters<Database['transaction']>[0]>[0],
  request: ChangeRequest,
  { id, tenantId }: OperationAccess,
): Promise<void> {
  return auditChange(manager, request, { tenantId, targetKind: 'operation', target: id });
}
