/** One board without a gateway: the agent's own session and procedures, readings from the bench. */
import { randomUUID } from 'node:crypto';
import { systemClock } from '../../board-agent/clock.ts';
import { createBuiltinProcedures } from '../../board-agent/procedures/builtin.ts';
import { createDispatcher } from '../../board-agent/procedures/dispatcher.ts';
import { createRegistry } from '../../board-agent/procedures/registry.ts';
import { type BoardSession, createBoardSession } from '../../board-agent/session/board-session.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import type { HelloRequest } from '../../common/wamp/agent-procedures.ts';
import type { ReadingsBatch, ReadingTuple } from '../../common/wamp/readings.ts';
import { boardPrefix } from '../../common/wamp/uris.ts';
import type { BoardKeys, Router } from './messages.ts';

export interface SimulatedBoard {
  session: BoardSession;
  /** Resolves when hello has been answered. */
  online: Promise<void>;
  /** A batch of fresh readings of two streams, with the next sequence numbers. */
  nextBatch(readings: number): ReadingsBatch;
  epoch(): string;
  useEpoch(epoch: string): void;
  helloRequest(): HelloRequest;
}

const logger = createLogger('bench-boards', 'silent');
export const streams = [
  { name: 'bench/temperature', type: 'number', unit: 'Cel' },
  { name: 'bench/pressure', type: 'number', unit: 'Pa' },
] as const;

export function createSimulatedBoard(keys: BoardKeys, router: Router): SimulatedBoard {
  const online = Promise.withResolvers<void>();
  let epoch: string = randomUUID();
  let next = 1;
  const registry = createRegistry(
    createBuiltinProcedures({
      clock: systemClock,
      contracts: () => registry.contracts,
      agentInfo: () => ({ boardUuid: keys.uuid, startedAt: Date.now() }),
    }),
  );
  const dispatcher = createDispatcher({
    prefix: boardPrefix(keys.uuid),
    registry,
    reserved: {},
    clock: systemClock,
    logger,
  });
  const helloRequest = (): HelloRequest => ({
    agentVersion: 'bench',
    bootId: 'bench',
    connectivity: { kind: 'ethernet' },
    procedures: registry.contracts,
    modules: [{ name: 'bench', streams: [...streams] }],
    spoolEpoch: epoch,
  });
  const session = createBoardSession({
    principal: {
      boardUuid: keys.uuid,
      realm: router.realm,
      routerUrls: [router.url],
      publicKey: keys.publicKey,
      privateKey: keys.privateKey,
      settings: { batchIntervalMs: 5000, heartbeatIntervalMs: 10_000, reconnectSpreadMs: 1000 },
    },
    helloRequest,
    onInvocation: dispatcher.invoke,
    onOnline: () => online.resolve(),
    logger,
  });
  return {
    session,
    online: online.promise,
    nextBatch(readings) {
      const batch = createBatch(epoch, next, readings);
      next += readings;
      return batch;
    },
    epoch: () => epoch,
    helloRequest,
    useEpoch(value) {
      epoch = value;
    },
  };
}

export function createBatch(epoch: string, from: number, readings: number): ReadingsBatch {
  const now = Date.now();
  const tuples = Array.from(
    { length: readings },
    (_, index): ReadingTuple => [
      index % streams.length,
      now - (readings - index),
      20 + Math.sin(from + index),
    ],
  );
  return { epoch, from, streams: [...streams], readings: tuples };
}
