/** A private MariaDB: loopback and a Unix socket only, one account that owns one schema. */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { parseDatabaseUrl } from '../../common/db/database-url.ts';
import { run } from '../setup/exec.ts';
import type { MariadbTools } from '../setup/mariadb.ts';
import { socketPath } from './socket-path.ts';
import type { Part } from './supervisor.ts';

export interface MariadbOptions {
  tools: MariadbTools;
  /** Folder of this server: data files, socket, the accounts it makes at each start. */
  dir: string;
  port: number;
  password: string;
  /** Further statements to run at each start, one a line; for the tests' server. */
  initSql?: readonly string[];
  /** Further server settings, e.g. weaker durability where nothing needs to survive. */
  settings?: readonly string[];
  signal?: AbortSignal;
}

export const databaseName = 'boardwalk';

export function mariadbUrl(options: { port: number; password: string }, database = databaseName): string {
  return `mysql://${databaseName}:${options.password}@127.0.0.1:${options.port}/${database}`;
}

/** Makes the data folder at the first call, and the part that serves it. */
export async function createMariadbPart(options: MariadbOptions): Promise<Part> {
  const { tools, dir, port } = options;
  const env = { ...process.env, ...tools.env };
  const data = join(dir, 'data');
  const temporary = join(dir, 'tmp');
  const initFile = join(dir, 'accounts.sql');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await mkdir(temporary, { recursive: true });
  if (!existsSync(data)) {
    // Under its final name only when complete: a first start that was cut off begins anew.
    const unfinished = join(dir, 'data.unfinished');
    await rm(unfinished, { recursive: true, force: true });
    await run(
      tools.installDb,
      [
        '--no-defaults',
        `--basedir=${tools.basedir}`,
        '--srcdir=',
        `--datadir=${unfinished}`,
        '--auth-root-authentication-method=socket',
        '--skip-test-db',
        // Does without the lookup of the machine's own name, which a bare machine can't answer.
        '--force',
      ],
      options.signal ? { env, signal: options.signal } : { env },
    );
    await rename(unfinished, data);
  }
  await writeFile(initFile, initStatements(options).join('\n'), { mode: 0o600 });
  return {
    name: 'mariadb',
    command: tools.mariadbd,
    args: [
      '--no-defaults',
      `--basedir=${tools.basedir}`,
      `--datadir=${data}`,
      `--tmpdir=${temporary}`,
      `--init-file=${initFile}`,
      `--socket=${await socketPath(dir, 'mysql.sock')}`,
      `--pid-file=${join(dir, 'mariadb.pid')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--skip-name-resolve',
      '--skip-log-bin',
      '--default-time-zone=+00:00',
      '--character-set-server=utf8mb4',
      '--collation-server=utf8mb4_unicode_ci',
      '--innodb-flush-log-at-trx-commit=1',
      '--max-allowed-packet=16M',
      '--max-connections=300',
      ...(process.getuid?.() === 0 ? ['--user=root'] : []),
      ...(options.settings ?? []),
    ],
    env,
    ready: () => selectOne(mariadbUrl(options)),
  };
}

/** The server runs these itself at each start, so no password is ever on a command line. */
function initStatements({ password, initSql }: MariadbOptions): string[] {
  const account = `${databaseName}@'127.0.0.1'`;
  return [
    `CREATE DATABASE IF NOT EXISTS ${databaseName} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;`,
    `CREATE USER IF NOT EXISTS ${account};`,
    `ALTER USER ${account} IDENTIFIED BY '${password}';`,
    `GRANT ALL ON ${databaseName}.* TO ${account};`,
    ...(initSql ?? []),
    '',
  ];
}

/** A round trip to the first server of a DATABASE_URL. */
export async function selectOne(url: string): Promise<void> {
  const { nodes, username, password, schema } = parseDatabaseUrl(url);
  const connection = await createConnection({
    ...nodes[0],
    user: username,
    password,
    database: schema,
    connectTimeout: 2_000,
  });
  try {
    await connection.query('SELECT 1');
  } finally {
    connection.destroy();
  }
}
