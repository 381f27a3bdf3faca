/** The parts of RPCs, made once per process. */
import type { Database } from '../../common/db/database.ts';
import type { AgentDirectory } from '../../common/relay/agent-directory.ts';
import { createRelayClient } from '../../common/relay/relay-client.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ApiMetrics } from '../http/metrics.ts';
import type { HandlersOf } from '../http/operation.ts';
import type { ShortMemory } from '../http/short-memory.ts';
import { createAuditBatch } from './audit-batch.ts';
import { createRpcHandlers } from './call-procedure.ts';

export interface RpcOptions {
  database: Database;
  directory: AgentDirectory;
  memory: ShortMemory;
  relayKey: string;
  metrics: Pick<ApiMetrics, 'rpcSeconds'>;
  logger: Logger;
}

export interface Rpc {
  handlers: HandlersOf<'callProcedure'>;
  /** To be called when no request is under way any more: writes the last audit rows. */
  stop(): Promise<void>;
}

export function createRpc({ database, directory, memory, relayKey, metrics, logger }: RpcOptions): Rpc {
  const relay = createRelayClient({ directory, key: relayKey, logger });
  const audit = createAuditBatch({ database, logger });
  return {
    handlers: createRpcHandlers({ database, memory, relay, audit, metrics }),
    async stop() {
      relay.close();
      await audit.stop();
    },
  };
}
