/** `POST /v1/operations` and `POST /v1/operations/plan`. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { type ContractMemory, createContractMemory } from '../../common/db/queries/contract-memory.ts';
import { appendEvents } from '../../common/db/queries/events.ts';
import { type InsertedOperation, insertOperation } from '../../common/db/queries/operation-creation.ts';
import { resolveTargets } from '../../common/db/queries/operation-targets.ts';
import { readQuotaLimits, takeOperationPlace } from '../../common/db/queries/quotas.ts';
import { requireTargets } from '../../common/db/queries/require-targets.ts';
import type { QuotaLimits } from '../../common/db/quota-limits.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { WakeClient } from '../../common/wake/wake-client.ts';
import { isReservedProcedure } from '../../common/wamp/uris.ts';
import { getBoardAccess, tenantForCreation } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import { scopeAllowsProcedure } from '../auth/principal.ts';
import type { ApiDeps } from '../deps.ts';
import { type Created, createOnce, findReplay } from '../http/idempotency.ts';
import type { ApiRequest, HandlersOf, Schemas } from '../http/operation.ts';
import type { ShortMemory } from '../http/short-memory.ts';
import { versionTag } from '../http/versions.ts';
import { type PlannedOperation, requirePlan, toExcluded, toPlan } from './operation-plan.ts';
import { findProcedureSeconds, readOperation } from './operation-queries.ts';
import { parseOperationRequest } from './operation-request.ts';
import { parseWait, waitForEnd } from './wait.ts';

type Creation = ApiRequest<'createOperation'>;
type Planned = PlannedOperation & { limits: QuotaLimits };

interface Made {
  id: string;
  excluded: NonNullable<Schemas['Operation']['excluded']>;
  /** That have something to do now. */
  boards: string[];
  headers?: Record<string, string>;
}

type CreationOrPlan = Creation | ApiRequest<'planOperation'>;

export function createOperationCreationHandlers(
  { database, config, stopping }: ApiDeps,
  { wake, memory }: { wake: WakeClient; memory: ShortMemory },
): HandlersOf<'createOperation' | 'planOperation'> {
  const contracts = createContractMemory();

  async function plan(request: Creation): Promise<Planned> {
    // Ahead of the transaction: what it would read, it would hold to while it waits for others.
    const planned = await planRequest({ database, contracts }, request);
    requirePlan(planned);
    const { tenantId } = planned;
    const limits = await memory.recall(
      `quotas ${tenantId}`,
      () => database.read((manager) => readQuotaLimits(manager, tenantId, config.quotas)),
      () => true,
    );
    return { ...planned, limits };
  }

  async function create(
    request: Creation,
  ): Promise<{ answer: Created<'createOperation'>; boards: string[] }> {
    const replayed = await findReplay(database, request);
    if (replayed) return { answer: replayed, boards: [] };
    const planned = await plan(request);
    const answer = await createOnce(database, request, (manager) => store(manager, request, planned));
    return { answer, boards: boardsOf(planned) };
  }

  /** Without a key nobody asks for this answer again: it is read once, when the wait is over. */
  async function createUnkeyed(request: Creation): Promise<Made> {
    const planned = await plan(request);
    const id = await database.transaction(async (manager) => {
      const inserted = await insert(manager, request, planned);
      await appendEvents(manager, inserted.events);
      return inserted.id;
    });
    return { id, excluded: toExcluded(planned.resolved), boards: boardsOf(planned) };
  }

  async function createKeyed(request: Creation): Promise<Made> {
    const { answer, boards } = await create(request);
    const { headers = {}, body } = answer;
    return { id: body.id, excluded: body.excluded ?? [], boards, headers };
  }

  async function createAndWait(request: Creation, waitMs: number) {
    const isKeyed = request.header('idempotency-key') !== undefined;
    const { id, excluded, boards, headers } = await (isKeyed ? createKeyed(request) : createUnkeyed(request));
    const { response } = request.http;
    const gone = new AbortController();
    const leave = () => gone.abort();
    response.once('close', leave);
    await waitForEnd({ database, wake, stopping }, { id, boards }, waitMs, gone.signal);
    response.off('close', leave);
    const operation = await database.read((manager) => readOperation(manager, id));
    return {
      status: operation.endedAt === null ? (202 as const) : (200 as const),
      headers: { Location: locationOf(id), ...headers, ...versionTag(operation.version) },
      body: { ...operation, ...(excluded.length > 0 && { excluded }) },
    };
  }

  return {
    async createOperation(request) {
      const waitMs = parseWait(request.query.wait);
      if (waitMs !== undefined) return createAndWait(request, waitMs);
      const { answer, boards } = await create(request);
      wake.wake({ operations: [answer.body.id], boards });
      return answer;
    },

    async planOperation(request) {
      const planned = await planRequest({ database, contracts }, request);
      const seconds = await database.read((manager) =>
        findProcedureSeconds(manager, planned.tenantId, planned.request.procedure),
      );
      return { status: 200, body: toPlan(planned, seconds, Date.now()) };
    },
  };
}

/** What the request means now, after all that can be refused without writing. */
async function planRequest(
  { database, contracts }: { database: Database; contracts: ContractMemory },
  incoming: CreationOrPlan,
): Promise<PlannedOperation> {
  const { scope } = incoming.principal;
  const request = parseOperationRequest(incoming.body, Date.now());
  const { procedure, target, kwargs, strict } = request;
  if (isReservedProcedure(procedure))
    throw new AppError('forbidden', "procedures of 'operation' are the service's own");
  if (!scopeAllowsProcedure(scope, procedure))
    throw new AppError('forbidden', `the key's scope does not include the procedure '${procedure}'`);
  const { tenantId, resolved } = await database.read(async (manager) => {
    const id = await findTenant(manager, incoming, target.boards?.[0]);
    const scopeBoards = scope.boards;
    return {
      tenantId: id,
      resolved: await resolveTargets(manager, {
        tenantId: id,
        target,
        scopeBoards,
        procedure,
        kwargs,
        contracts,
      }),
    };
  });
  requireTargets(resolved, { procedure, strict });
  return { tenantId, request, resolved };
}

/** The tenant that was named, the only one there is, or else the one of the first board. */
async function findTenant(
  manager: EntityManager,
  { operationId, principal, body }: CreationOrPlan,
  firstBoard: string | undefined,
): Promise<string> {
  const hasChoice = principal.isAdmin || principal.memberships.length > 1;
  if (body.tenant === undefined && hasChoice && firstBoard !== undefined) {
    const request = { operationId, principal, path: { board: firstBoard }, query: {} };
    return (await getBoardAccess(manager, request)).tenantId;
  }
  return tenantForCreation(manager, { operationId, principal }, body.tenant);
}

/** The rows, without the live events. */
async function insert(
  manager: EntityManager,
  request: Creation,
  { tenantId, limits, request: order, resolved }: Planned,
): Promise<InsertedOperation> {
  await takeOperationPlace(manager, tenantId, limits);
  const inserted = await insertOperation(manager, {
    ...order,
    tenantId,
    createdBy: creatorOf(request.principal),
    boards: resolved.included,
    evidence: { requestId: request.context.requestId, excluded: resolved.excluded.length },
  });
  await auditChange(manager, request, {
    tenantId,
    targetKind: 'operation',
    target: inserted.id,
    detail: { procedure: order.procedure, delivery: order.delivery, boards: resolved.included.length },
  });
  return inserted;
}

async function store(
  manager: EntityManager,
  request: Creation,
  planned: Planned,
): Promise<Created<'createOperation'>> {
  const { id, events } = await insert(manager, request, planned);
  const operation = await readOperation(manager, id);
  await appendEvents(manager, events);
  const excluded = toExcluded(planned.resolved);
  return {
    status: 202,
    headers: { Location: locationOf(id), ...versionTag(operation.version) },
    body: { ...operation, ...(excluded.length > 0 && { excluded }) },
  };
}

/** Boards of a rollout wait for their wave. */
const boardsOf = ({ resolved, request }: Planned) =>
  request.rollout ? [] : resolved.included.map(({ uuid }) => uuid);

const locationOf = (id: string) => `/v1/operations/${id}`;
