/** TypeORM's connection pool for one server, set up the way the whole project expects. */
import { DataSource, type Logger as OrmLogger } from 'typeorm';
import { migrations } from '../../migrations/index.ts';
import type { Logger } from '../runtime/logger.ts';
import type { DatabaseAddress, DatabaseNode } from './database-url.ts';
import { entities } from './entities/all.ts';

export interface DataSourceOptions {
  logger: Logger;
  poolSize: number;
  /** 0 = no limit. */
  queryTimeoutMs: number;
}

const lockWaitSeconds = 5;

export function createDataSource(
  address: DatabaseAddress,
  { host, port }: DatabaseNode,
  options: DataSourceOptions,
): DataSource {
  return new DataSource({
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
    poolSize: options.poolSize,
    connectTimeout: 2000,
    enableQueryTimeout: true,
    maxQueryExecutionTime: options.queryTimeoutMs,
    ...(address.tls && { ssl: { rejectUnauthorized: true } }),
    extra: {
      enableKeepAlive: true,
      idleTimeout: 60_000,
      jsonStrings: false,
      // A stack trace per statement costs more than the rest of sending it.
      trace: false,
    },
    entities,
    migrations,
    logger: createOrmLogger(options.logger),
    migrationsTableName: 'schema_migrations',
    migrationsTransactionMode: 'none',
  });
}

/** Opens the pool; each new connection gets the project's session settings. */
export async function openDataSource(source: DataSource): Promise<void> {
  await source.initialize();
  const { pool } = source.driver as unknown as { pool: RawPool };
  pool.on('connection', (connection) => {
    // Faults of this statement show at the next one.
    connection.query(
      `SET SESSION innodb_lock_wait_timeout = ${lockWaitSeconds}, time_zone = '+00:00'`,
      () => undefined,
    );
    connection.on('error', () => undefined);
  });
}

interface RawPool {
  on(event: 'connection', listener: (connection: RawConnection) => void): void;
}

interface RawConnection {
  query(sql: string, done: () => void): void;
  on(event: 'error', listener: (error: unknown) => void): void;
}

/** TypeORM would print to the console; only statements that met their time limit are worth a line. */
function createOrmLogger(logger: Logger): OrmLogger {
  const nothing = () => undefined;
  return {
    logQuery: nothing,
    logQueryError: nothing,
    logSchemaBuild: nothing,
    logMigration: nothing,
    log: nothing,
    logQuerySlow: (durationMs, query) =>
      logger.warn({ durationMs, statement: query.slice(0, 200) }, 'a statement took too long'),
  };
}
