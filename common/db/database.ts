/**
 * The one way to the database. Two entries: `read` for single statements, `transaction` for the
 * rest. Both retry what may be retried, bounded and with jitter, and move to the next server of
 * DATABASE_URL when the current one is gone or not ready.
 *
 * What may be retried: deadlock (1213) and lock wait (1205) at any statement, COMMIT included,
 * because the transaction is rolled back then; a lost connection or a node that is not ready
 * (1047) before COMMIT was sent. A connection lost *at* COMMIT leaves the outcome unknown: it is
 * repeated only when the caller says that its statements are safe to repeat.
 */
import type { ReadStream } from 'node:fs';
import { DataSource, type EntityManager } from 'typeorm';
import { migrations } from '../../migrations/index.ts';
import { AppError } from '../runtime/app-error.ts';
import { backoffDelayMs, withRetry } from '../runtime/backoff.ts';
import type { Logger } from '../runtime/logger.ts';
import { parseDatabaseUrl } from './database-url.ts';
import { entities } from './entities/all.ts';
import { faultKind } from './fault-kind.ts';

export interface Database {
  /** Runs work outside a transaction; a lost connection is retried, so it only reads or is safe to repeat. */
  read<T>(work: (manager: EntityManager) => Promise<T>, options?: RunOptions): Promise<T>;
  /** Runs work in a transaction, again from the start when it is rolled back by the server. */
  transaction<T>(work: (manager: EntityManager) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /** Rows of one SELECT as they arrive, never all in memory. `release` must be called at the end. */
  stream(sql: string, parameters: unknown[]): Promise<{ rows: ReadStream; release(): Promise<void> }>;
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
  onRetry?: (kind: string) => void;
}

const retry = { baseMs: 20, capMs: 1000 };
const failedNodeRestMs = 2000;
const lockWaitSeconds = 5;

interface Node {
  name: string;
  source: DataSource;
  restsUntil: number;
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
    if (!chosen.source.isInitialized) await initialize(chosen);
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
        (each) => work(each.source.manager),
        run,
        (error) => faultKind(error) !== 'final',
      ),
    async transaction(work, run = {}) {
      let committing = false;
      return guarded(
        (each) => {
          committing = false;
          return inTransaction(each.source, work, () => {
            committing = true;
          });
        },
        run,
        (error) => {
          const kind = faultKind(error);
          return kind === 'rollback' || (kind === 'connection' && (!committing || run.repeatable === true));
        },
      );
    },
    async stream(sql, parameters) {
      const runner = (await node()).source.createQueryRunner();
      try {
        return { rows: await runner.stream(sql, parameters), release: () => runner.release() };
      } catch (error) {
        await runner.release();
        throw error;
      }
    },
    currentNode: () => current.name,
    async close() {
      for (const each of nodes) if (each.source.isInitialized) await each.source.destroy();
    },
  };
}

async function inTransaction<T>(
  source: DataSource,
  work: (manager: EntityManager) => Promise<T>,
  onCommit: () => void,
): Promise<T> {
  const runner = source.createQueryRunner();
  try {
    await runner.startTransaction();
    const result = await work(runner.manager);
    onCommit();
    await runner.commitTransaction();
    return result;
  } catch (error) {
    // The server may have rolled back already, or be gone; the first error is the one that counts.
    if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => undefined);
    throw error;
  } finally {
    await runner.release();
  }
}

function createNodes(options: DatabaseOptions): Node[] {
  const address = parseDatabaseUrl(options.url);
  return address.nodes.map(({ host, port }) => ({
    name: `${host}:${port}`,
    restsUntil: 0,
    source: new DataSource({
      type: 'mariadb',
      host,
      port,
      username: address.username,
      password: address.password,
      database: address.schema,
      charset: 'utf8mb4_unicode_ci',
      timezone: 'Z',
      supportBigNumbers: true,
      bigNumberStrings: false,
      poolSize: options.poolSize ?? 10,
      connectTimeout: 2000,
      ...(address.tls && { ssl: { rejectUnauthorized: true } }),
      extra: { enableKeepAlive: true, idleTimeout: 60_000, maxIdle: 4, jsonStrings: false },
      entities,
      migrations,
      migrationsTableName: 'schema_migrations',
      migrationsTransactionMode: 'none',
    }),
  }));
}

const initializing = new WeakMap<Node, Promise<void>>();

/** Many callers may find the source closed at once; they share one attempt. */
async function initialize(node: Node): Promise<void> {
  const running =
    initializing.get(node) ??
    node.source.initialize().then((source) => {
      const pool = (
        source.driver as unknown as {
          pool: { on(event: 'connection', listener: (connection: RawConnection) => void): void };
        }
      ).pool;
      pool.on('connection', (connection) => {
        // Faults of this statement show at the next one.
        connection.query(
          `SET SESSION innodb_lock_wait_timeout = ${lockWaitSeconds}, time_zone = '+00:00'`,
          () => undefined,
        );
        connection.on('error', () => undefined);
      });
    });
  initializing.set(node, running);
  try {
    await running;
  } finally {
    initializing.delete(node);
  }
}

interface RawConnection {
  query(sql: string, done: () => void): void;
  on(event: 'error', listener: (error: unknown) => void): void;
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
