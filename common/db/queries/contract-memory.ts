/**
 * Contracts of procedures, remembered by the hash of all that their board published: what a hash
 * stands for never changes, so nothing of it goes stale.
 */
import type { ProcedureContract } from '../../wamp/contract.ts';

export interface ContractMemory {
  /** null = the boards of this hash have no such procedure; undefined = not remembered. */
  find(hash: string, procedure: string): ProcedureContract | null | undefined;
  keep(hash: string, procedure: string, contract: ProcedureContract | null): void;
}

const maxRemembered = 10_000;

export function createContractMemory(): ContractMemory {
  const contracts = new Map<string, ProcedureContract | null>();
  const keyOf = (hash: string, procedure: string) => `${hash} ${procedure}`;
  return {
    find: (hash, procedure) => contracts.get(keyOf(hash, procedure)),
    keep(hash, procedure, contract) {
      if (contracts.size >= maxRemembered) contracts.clear();
      contracts.set(keyOf(hash, procedure), contract);
    },
  };
}
