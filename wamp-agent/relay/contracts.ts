/** The published contracts of boards, remembered by their hash. */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { fromJsonColumn } from '../../common/db/json-column.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';

export interface ContractCache {
  /** Throws `procedure-not-found`. `hash` is what the caller knows of the board; null = nothing. */
  get(boardUuid: string, hash: string | null, procedure: string): Promise<ProcedureContract>;
}

interface Known {
  hash: string | null;
  contracts: Map<string, ProcedureContract>;
}

const maxBoards = 5000;

export function createContractCache(database: Database): ContractCache {
  const boards = new Map<string, Promise<Known>>();

  function load(boardUuid: string): Promise<Known> {
    const loading = database.read((manager) => findContracts(manager, boardUuid));
    boards.delete(boardUuid);
    boards.set(boardUuid, loading);
    loading.catch(() => boards.delete(boardUuid));
    if (boards.size > maxBoards)
      for (const oldest of boards.keys()) {
        boards.delete(oldest);
        break;
      }
    return loading;
  }

  return {
    async get(boardUuid, hash, procedure) {
      const remembered = await boards.get(boardUuid);
      const known = remembered && remembered.hash === hash ? remembered : await load(boardUuid);
      const contract = known.contracts.get(procedure);
      if (!contract) throw new AppError('procedure-not-found', `this board has no procedure '${procedure}'`);
      return contract;
    },
  };
}

async function findContracts(manager: EntityManager, boardUuid: string): Promise<Known> {
  const rows = (await manager.query(
    `SELECT b.contracts_hash AS hash, p.name, p.contract
     FROM boards b LEFT JOIN procedure_contracts p ON p.board_uuid = b.uuid WHERE b.uuid = ?`,
    [boardUuid],
  )) as { hash: string | null; name: string | null; contract: unknown }[];
  const contracts = new Map<string, ProcedureContract>();
  for (const { name, contract } of rows) {
    if (name !== null) contracts.set(name, fromJsonColumn(contract));
  }
  return { hash: rows[0]?.hash ?? null, contracts };
}
