/**
 * Which boards an operation reaches: the named ones, a fleet's, or those that a selector matches; less
 * those whose contracts say that it cannot be done. Nothing is written, nothing is locked.
 */
import type { EntityManager } from 'typeorm';
import { AppError } from '../../runtime/app-error.ts';
import { isUuid, type JsonObject } from '../../runtime/guards.ts';
import { argumentFaults } from '../../wamp/check-arguments.ts';
import type { ProcedureContract } from '../../wamp/contract.ts';
import type { SchemaFault } from '../../wamp/schema-check.ts';
import type { BoardStatus } from '../entities/boards.ts';
import { type ContractMemory, createContractMemory } from './contract-memory.ts';
import { fleetCondition } from './fleet-boards.ts';
import { labelCondition, parseLabelSelector, type SqlCondition } from './label-selector.ts';

/** Exactly one of the three. */
export interface TargetChoice {
  /** uuids or names. */
  boards?: string[];
  /** Id or name. */
  fleet?: string;
  selector?: string;
}

export interface TargetRequest {
  tenantId: string;
  target: TargetChoice;
  /** uuids that may be reached, of a key that is limited; null = no limit. */
  scopeBoards: ReadonlySet<string> | null;
  procedure: string;
  kwargs: JsonObject;
  /** What was learned of contracts before, and is learned now. */
  contracts?: ContractMemory;
}

export interface IncludedBoard {
  uuid: string;
  name: string;
  status: BoardStatus;
  /** null = the board has published no contracts yet: unverified. */
  safety: string | null;
}

export type ExclusionReason = 'procedure-not-found' | 'invalid-arguments' | 'board-revoked';

export interface ExcludedBoard {
  uuid: string;
  name: string;
  reason: ExclusionReason;
  detail: string;
}

export interface ResolvedTargets {
  /** Named boards in the order that they were named in, others by name. */
  included: IncludedBoard[];
  excluded: ExcludedBoard[];
  /** What breaks the contract, of the first board with faults. */
  faults: SchemaFault[];
}

/**
 * Throws AppError `board-not-found` naming the boards that do not exist, `not-found` for the fleet,
 * `invalid-request` for a bad selector. That nothing is left is no error here: see `requireTargets`.
 */
export async function resolveTargets(
  manager: EntityManager,
  request: TargetRequest,
): Promise<ResolvedTargets> {
  const boards = await findBoards(manager, request);
  const verdicts = await judgeContracts(manager, request, boards);
  const resolved: ResolvedTargets = { included: [], excluded: [], faults: [] };
  for (const { uuid, name, status, hash } of boards) {
    const verdict = hash === null ? { safety: null } : (verdicts.get(hash) ?? missing(request.procedure));
    if (status === 'revoked')
      resolved.excluded.push({ uuid, name, reason: 'board-revoked', detail: 'the board is revoked' });
    else if ('reason' in verdict) {
      resolved.excluded.push({ uuid, name, reason: verdict.reason, detail: verdict.detail });
      if (resolved.faults.length === 0) resolved.faults = verdict.faults;
    } else resolved.included.push({ uuid, name, status, safety: verdict.safety });
  }
  return resolved;
}

interface CandidateRow {
  uuid: string;
  name: string;
  status: BoardStatus;
  /** Of its contracts; null = never published any. */
  hash: string | null;
}

async function findBoards(manager: EntityManager, request: TargetRequest): Promise<CandidateRow[]> {
  const { target } = request;
  if (target.boards) return findNamed(manager, request, target.boards);
  if (target.fleet !== undefined)
    return findWhere(
      manager,
      request,
      fleetCondition(await getFleet(manager, request.tenantId, target.fleet)),
    );
  return findWhere(manager, request, selectorCondition(target.selector ?? ''));
}

async function findWhere(
  manager: EntityManager,
  { tenantId, scopeBoards }: TargetRequest,
  condition: SqlCondition,
): Promise<CandidateRow[]> {
  if (scopeBoards?.size === 0) return [];
  const scope = scopeBoards ? { sql: 'b.uuid IN (?)', values: [[...scopeBoards]] } : undefined;
  return manager.query(
    `SELECT b.uuid, b.name, b.status, b.contracts_hash AS hash FROM boards b
     WHERE b.tenant_id = ? AND ${condition.sql}${scope ? ` AND ${scope.sql}` : ''} ORDER BY b.name, b.uuid`,
    [tenantId, ...condition.values, ...(scope?.values ?? [])],
  );
}

function selectorCondition(selector: string): SqlCondition {
  const place = { name: 'target.selector', pointer: '/target/selector' };
  const conditions = parseLabelSelector(selector, place).map((each) => labelCondition(each, 'b.uuid'));
  return {
    sql: conditions.map((each) => each.sql).join(' AND '),
    values: conditions.flatMap((each) => each.values),
  };
}

async function getFleet(
  manager: EntityManager,
  tenantId: string,
  reference: string,
): Promise<{ id: string; selector: string | null }> {
  const [fleet] = (await manager.query(
    `SELECT id, selector FROM fleets WHERE tenant_id = ? AND ${isUuid(reference) ? 'id' : 'name'} = ?`,
    [tenantId, reference],
  )) as { id: string; selector: string | null }[];
  if (!fleet) throw new AppError('not-found', 'there is no such fleet');
  return fleet;
}

/** By uuid and by name in statements of their own: each has its index. */
async function findNamed(
  manager: EntityManager,
  request: TargetRequest,
  references: readonly string[],
): Promise<CandidateRow[]> {
  const uuids = references.filter(isUuid);
  const names = references.filter((each) => !isUuid(each));
  const found = [
    ...(uuids.length > 0 ? await findWhere(manager, request, { sql: 'b.uuid IN (?)', values: [uuids] }) : []),
    ...(names.length > 0 ? await findWhere(manager, request, { sql: 'b.name IN (?)', values: [names] }) : []),
  ];
  const boards = [...new Map(found.map((each) => [each.uuid, each])).values()];
  const places = new Map<string, number>();
  for (const [index, each] of references.entries())
    if (!places.has(foldCase(each))) places.set(foldCase(each), index);
  const missingReferences = await findMissing(manager, request, references, boards, places.size);
  if (missingReferences.length > 0)
    throw new AppError('board-not-found', `there is no board ${missingReferences.join(', ')}`, {
      details: {
        errors: missingReferences.map((each) => ({
          pointer: `/target/boards/${references.indexOf(each)}`,
          detail: `there is no board ${each}`,
        })),
      },
    });
  const placeOf = ({ uuid, name }: CandidateRow) =>
    Math.min(places.get(uuid) ?? Infinity, places.get(foldCase(name)) ?? Infinity);
  return boards.sort((left, right) => (placeOf(left) < placeOf(right) ? -1 : 1));
}

const foldCase = (text: string) => text.toLowerCase();
const namedMissing = 20;

/**
 * References without a board, the first twenty. The database compares names without case and
 * accents, so what does not match letter by letter is asked for once more before it counts as missing.
 */
async function findMissing(
  manager: EntityManager,
  request: TargetRequest,
  references: readonly string[],
  boards: readonly CandidateRow[],
  distinct: number,
): Promise<string[]> {
  if (boards.length >= distinct) return [];
  const known = new Set(boards.flatMap(({ uuid, name }) => [uuid, foldCase(name)]));
  const missingOnes: string[] = [];
  for (const reference of references.filter((each) => !known.has(foldCase(each)))) {
    if (missingOnes.length >= namedMissing) break;
    const column = isUuid(reference) ? 'b.uuid' : 'b.name';
    const rows = await findWhere(manager, request, { sql: `${column} = ?`, values: [reference] });
    if (rows.length === 0) missingOnes.push(reference);
  }
  return missingOnes;
}

type Verdict = { safety: string | null } | { reason: ExclusionReason; detail: string; faults: SchemaFault[] };

function missing(procedure: string): Verdict {
  return {
    reason: 'procedure-not-found',
    detail: `the board has no procedure '${procedure}'`,
    faults: [],
  };
}

/**
 * What the contracts say, by their hash: boards of one make have the same, so one board speaks for
 * all of a hash, and each distinct contract is checked once.
 */
async function judgeContracts(
  manager: EntityManager,
  { procedure, kwargs, contracts = createContractMemory() }: TargetRequest,
  boards: readonly CandidateRow[],
): Promise<Map<string, Verdict>> {
  const speakers = new Map<string, string>();
  for (const { uuid, hash } of boards) if (hash !== null) speakers.set(hash, uuid);
  const unknown = [...speakers].filter(([hash]) => contracts.find(hash, procedure) === undefined);
  const found = await findContracts(
    manager,
    procedure,
    unknown.map(([, uuid]) => uuid),
  );
  const learned = new Map<string, ProcedureContract | null>();
  for (const [hash, uuid] of unknown) {
    const spoken = found.get(uuid);
    learned.set(hash, spoken?.contract ?? null);
    // A board that has just said hello speaks for another hash now: that is nothing to remember.
    if (spoken?.hash === hash) contracts.keep(hash, procedure, spoken.contract);
  }
  const checked = new Map<ProcedureContract, Verdict>();
  const verdicts = new Map<string, Verdict>();
  for (const hash of speakers.keys()) {
    const contract = learned.has(hash) ? learned.get(hash) : contracts.find(hash, procedure);
    if (!contract) continue;
    const verdict = checked.get(contract) ?? judge(contract, kwargs);
    checked.set(contract, verdict);
    verdicts.set(hash, verdict);
  }
  return verdicts;
}

interface SpokenContract {
  /** Of all contracts that the board has at the same moment. */
  hash: string | null;
  /** null = it has no such procedure. */
  contract: ProcedureContract | null;
}

/** By board; boards with the same text share the contract. */
async function findContracts(
  manager: EntityManager,
  procedure: string,
  boardUuids: readonly string[],
): Promise<Map<string, SpokenContract>> {
  if (boardUuids.length === 0) return new Map();
  const rows = (await manager.query(
    `SELECT b.uuid, b.contracts_hash AS hash, p.contract FROM boards b
     LEFT JOIN procedure_contracts p ON p.board_uuid = b.uuid AND p.name = ? WHERE b.uuid IN (?)`,
    [procedure, boardUuids],
  )) as { uuid: string; hash: string | null; contract: string | JsonObject | null }[];
  const byText = new Map<string, ProcedureContract>();
  return new Map(
    rows.map(({ uuid, hash, contract }): [string, SpokenContract] => {
      if (contract === null) return [uuid, { hash, contract }];
      const text = typeof contract === 'string' ? contract : JSON.stringify(contract);
      const parsed = byText.get(text) ?? (JSON.parse(text) as ProcedureContract);
      byText.set(text, parsed);
      return [uuid, { hash, contract: parsed }];
    }),
  );
}

function judge(contract: ProcedureContract, kwargs: JsonObject): Verdict {
  const faults = argumentFaults(contract, [], kwargs);
  if (faults.length === 0) return { safety: contract.safety };
  const detail = faults.map(({ pointer, message }) => `${pointer} ${message}`).join('; ');
  return { reason: 'invalid-arguments', detail: detail.slice(0, 500), faults };
}
