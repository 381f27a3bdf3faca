/**
 * The one way to the database. Two entries: `read` for single statements, `transaction` for the
 * rest. Both retry what may be retried, bounded and with jitter, and move to the next server of
 * DATABASE_URL when the current one is gone or not ready.
 *
 * What may be retried: deadlock (1213), lock wait (1205) and a row that changed since the first read
 * (1020) at any statement, COMMIT included, because the transaction is rolled back then; a lost connection or a node that is not ready
 * (1047) before COMMIT was sent. A connection lost *at* COMMIT leaves the outcome unknown: it is
 * repeated only when the caller says that its statements are safe to repeat.
 */
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { AppError } from '../runtime/app-error.ts';
import { backoffDelayMs, withRetry } from '../runtime/backoff.ts';
import type { Logger } from '../runtime/logger.ts';
import { createDataSource, openDataSource } from './data-source.ts';
import { parseDatabaseUrl } from './database-url.ts';
import { faultKind } from './fault-kind.ts';

export interface Database {
  /** Runs work outside a transaction; a lost connection is retried, so it only reads or is safe to repeat. */
  read<T>(work: (manager: EntityManager) => Promise<T>, options?: RunOptions): Promise<T>;
  /** Runs work in a transaction, again from the start when it is rolled back by the server. */
  transaction<T>(work: (manager: EntityManager) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Which server is used now, as host:port. */
  currentNode(): string;
  close(): Promise<void>;
}

export interface RunOptions {
  /** No retry starts after this many milliseconds; default 5,000. */
  deadlineMs?: number;
  signal?: AbortSignal;
}

export interface TransactionOptions extends RunOptions {
  /** The statements may run again after a commit whose outcome is unknown. */
  repeatable?: boolean;
}

export interface DatabaseOptions {
  url: string;
  logger: Logger;
  /** Connections at the most; default 10. */
  poolSize?: number;
  /**
   * A statement without an answer for this long counts as a lost connection: the server is frozen or
   * the link half-open. Default 30,000; 0 = never, for migrations.
   */
  queryTimeoutMs?: number;
  onRetry?: (kind: string) => void;
}

const retry = { baseMs: 20, capMs: 1000 };
const failedNodeRestMs = 2000;

interface Node {
  name: string;
  source: DataSource;
  restsUntil: number;
  opening: Promise<void> | undefined;
}

/** Opens nothing yet: connections are made on first use. */
export function createDatabase(options: DatabaseOptions): Database {
  const { logger } = options;
  const nodes = createNodes(options);
  let current = nodes[0] as Node;

  async function node(): Promise<Node> {
    const now = performance.now();
    const chosen = nodes.find((each) => each.restsUntil <= now) ?? current;
    if (chosen !== current) {
      logger.warn({ from: current.name, to: chosen.name }, 'database server changed');
      current = chosen;
    }
    if (!chosen.source.isInitialized) await open(chosen);
    return chosen;
  }

  async function attempt<T>(work: (node: Node) => Promise<T>): Promise<T> {
    let used: Node | undefined;
    try {
      used = await node();
      return await work(used);
    } catch (error) {
      if (faultKind(error) === 'connection')
        (used ?? current).restsUntil = performance.now() + failedNodeRestMs;
      throw error;
    }
  }

  async function guarded<T>(
    work: (node: Node) => Promise<T>,
    run: RunOptions,
    retryable: (error: unknown) => boolean,
  ): Promise<T> {
    try {
      return await withRetry(() => attempt(work), {
        ...retry,
        deadlineMs: run.deadlineMs ?? 5000,
        ...(run.signal && { signal: run.signal }),
        retryable,
        onRetry: (error) => options.onRetry?.(faultKind(error)),
      });
    } catch (error) {
      if (faultKind(error) === 'final') throw error;
      throw new AppError('unavailable', 'the database cannot be used right now', { cause: error });
    }
  }

  return {
    read: (work, run = {}) =>
      guarded(
        (each) => onConnection(each.source, (runner) => work(runner.manager)),
        run,
        (error) => faultKind(error) !== 'final',
      ),
    async transaction(work, run = {}) {
      let committing = false;
      return guarded(
        (each) => {
          committing = false;
          return onConnection(each.source, async (runner) => {
            await runner.startTransaction();
            const result = await work(runner.manager);
            committing = true;
            await runner.commitTransaction();
            return result;
          });
        },
        run,
        (error) => {
          const kind = faultKind(error);
          return kind === 'rollback' || (kind === 'connection' && (!committing || run.repeatable === true));
        },
      );
    },
    currentNode: () => current.name,
    async close() {
      for (const each of nodes) if (each.source.isInitialized) await each.source.destroy();
    },
  };
}

/** One connection for the whole of `work`. What is left open is rolled back; a broken one is not used again. */
async function onConnection<T>(source: DataSource, work: (runner: QueryRunner) => Promise<T>): Promise<T> {
  const runner = source.createQueryRunner();
  try {
    return await work(runner);
  } catch (error) {
    if (faultKind(error) === 'connection') destroyConnection(runner);
    // The server may have rolled back already, or be gone; the first error is the one that counts.
    else if (runner.isTransactionActive)
      await runner.rollbackTransaction().catch(() => destroyConnection(runner));
    throw error;
  } finally {
    await runner.release();
  }
}

/** Takes the runner's connection out of the pool: the server ends what it had open. */
function destroyConnection(runner: QueryRunner): void {
  (runner as unknown as { databaseConnection?: { destroy(): void } }).databaseConnection?.destroy();
}

function createNodes(options: DatabaseOptions): Node[] {
  const address = parseDatabaseUrl(options.url);
  const { logger, poolSize = 10, queryTimeoutMs = 30_000 } = options;
  return address.nodes.map((node) => ({
    name: `${node.host}:${node.port}`,
    restsUntil: 0,
    opening: undefined,
    source: createDataSource(address, node, { logger, poolSize, queryTimeoutMs }),
  }));
}

/** Many callers may find the source closed at once; they share one attempt. */
async function open(node: Node): Promise<void> {
  node.opening ??= openDataSource(node.source).finally(() => {
    node.opening = undefined;
  });
  await node.opening;
}

/** For start-up: waits until the database answers; logs while it waits. */
export async function waitForDatabase(
  database: Database,
  logger: Logger,
  signal: AbortSignal,
  deadlineMs = 60_000,
): Promise<void> {
  let attempt = 0;
  const startedAt = performance.now();
  for (;;) {
    try {
      await database.read((manager) => manager.query('SELECT 1'), { deadlineMs: 0, signal });
      return;
    } catch (error) {
      if (signal.aborted || performance.now() - startedAt > deadlineMs) throw error;
      logger.warn({ err: error }, 'the database does not answer yet');
      await new Promise((resolve) =>
        setTimeout(resolve, 200 + backoffDelayMs(attempt, { baseMs: 200, capMs: 3000 })),
      );
      attempt += 1;
    }
  }
}
