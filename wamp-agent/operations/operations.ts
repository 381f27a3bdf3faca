/** What boards say of operations, and the files that belong to them. */
import { createArtifactStore } from '../../common/artifacts/store.ts';
import type { AgentBase } from '../base.ts';
import type { GetCaller } from '../boards/get-caller.ts';
import { createPutArtifact } from './artifacts.ts';
import { createOperationResults } from './results.ts';

export function createOperations(base: AgentBase, getCaller: GetCaller) {
  const { database, conductors, metrics, logger } = base;
  const { dir, days } = base.config.artifacts;
  const results = createOperationResults({
    database,
    agentId: base.id,
    getCaller,
    onReadied: (boards) => conductors.wake({ boards }),
    onEnded: (operations) => conductors.wake({ operations }, { everybody: true }),
    metrics,
    logger,
  });
  return {
    operationResult: results.operationResult,
    operationProgress: results.operationProgress,
    putArtifact: createPutArtifact({
      database,
      store: dir === undefined ? undefined : createArtifactStore(dir),
      keptDays: days,
      getCaller,
      noteRunning: results.noteRunning,
      metrics,
      logger,
    }),
    /** Writes what is still in memory. */
    stop: results.stop,
  };
}
