/**
 * Which boards to take next: tenants take turns, whoever was served last comes last, and of each
 * tenant the boards that wait the longest, the live lane before the drain lane. Reads only; what
 * another conductor takes meanwhile is simply not won.
 */
import type { EntityManager } from 'typeorm';
import {
  type DueBoard,
  findDueBoards,
  findDueOf,
  findReadyTenants,
} from '../../common/db/queries/board-queues.ts';
import { shuffled } from '../../common/runtime/shuffled.ts';
import type { Limits } from './limits.ts';

export interface Picked {
  boards: string[];
  /** There may be more than were picked: look again as soon as there are places. */
  hasMore: boolean;
  /** Boards of the drain lane wait for their turn. */
  isDraining: boolean;
}

export interface Picker {
  pick(manager: EntityManager, request: PickRequest): Promise<Picked>;
}

export interface PickRequest {
  /** Boards that are said to have something to do: looked at first. */
  hinted: readonly string[];
  most: number;
  /** Whether to look for others. */
  searches: boolean;
}

const tenantsAtOnce = 16;
const nobody = '';

export function createPicker(limits: Limits): Picker {
  let lastServed = nobody;

  /** Tenants whose turn is next; `hasMore` when others come after these. */
  async function nextTenants(manager: EntityManager): Promise<{ tenants: string[]; hasMore: boolean }> {
    const after = await findReadyTenants(manager, lastServed, tenantsAtOnce + 1);
    if (after.length > tenantsAtOnce) return { tenants: after.slice(0, tenantsAtOnce), hasMore: true };
    if (lastServed === nobody) return { tenants: after, hasMore: false };
    const before = await findReadyTenants(manager, nobody, tenantsAtOnce + 1 - after.length);
    const tenants = [...new Set([...after, ...before])];
    return { tenants: tenants.slice(0, tenantsAtOnce), hasMore: tenants.length > tenantsAtOnce };
  }

  return {
    async pick(manager, { hinted, most, searches }) {
      const picked = createSelection(limits, most);
      for (const board of await findDueOf(manager, hinted)) picked.add(board);
      if (picked.isFull()) return { ...picked.result(), hasMore: true };
      if (!searches) return picked.result();
      const { tenants, hasMore } = await nextTenants(manager);
      const found = await findDue(manager, tenants, { most, conductors: limits.conductors() });
      const queues = tenants.map((tenant) => found.get(tenant) ?? []);
      for (let round = 0; queues.some((queue) => queue.length > round); round += 1)
        for (const queue of queues) {
          const board = queue[round];
          if (board === undefined || !picked.add(board)) continue;
          lastServed = board.tenantId;
        }
      if (!picked.isFull() && hasMore) lastServed = tenants.at(-1) ?? nobody;
      const result = picked.result();
      return { ...result, hasMore: hasMore || result.hasMore };
    },
  };
}

/** By tenant, the live lane first. Conductors that look at the same moment go for different boards. */
async function findDue(
  manager: EntityManager,
  tenants: readonly string[],
  { most, conductors }: { most: number; conductors: number },
): Promise<Map<string, DueBoard[]>> {
  const rows = await findDueBoards(manager, tenants, most * Math.min(4, conductors));
  const lanes = [0, 1].map((lane) => rows.filter((row) => row.lane === lane));
  return Map.groupBy(
    lanes.flatMap((each) => (conductors > 1 ? shuffled(each) : each)),
    ({ tenantId }) => tenantId,
  );
}

/** Boards as far as there are places for them. */
function createSelection(limits: Limits, most: number) {
  const boards = new Map<string, DueBoard>();
  const byTenant = new Map<string, number>();
  let drained = 0;
  let refused = false;
  let isDraining = false;
  return {
    isFull: () => boards.size >= most,
    add(board: DueBoard): boolean {
      if (boards.has(board.boardUuid)) return false;
      const own = byTenant.get(board.tenantId) ?? 0;
      if (board.lane === 1 && drained >= limits.freeDrain()) {
        isDraining = true;
        return false;
      }
      if (boards.size >= most || own >= limits.free(board.tenantId)) {
        refused = true;
        return false;
      }
      boards.set(board.boardUuid, board);
      byTenant.set(board.tenantId, own + 1);
      drained += board.lane;
      return true;
    },
    result: () => ({ boards: [...boards.keys()], hasMore: refused, isDraining }),
  };
}
