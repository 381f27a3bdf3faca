/** One private MariaDB per test group, with the migrated schema that createTestDatabase() copies. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { run } from '../../bin/setup/exec.ts';
import { createMariadbPart, mariadbUrl } from '../../bin/stack/mariadb.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { createSupervisor } from '../../bin/stack/supervisor.ts';
import { repositoryRoot, testTools } from './tools.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    mariadb: { port: number; password: string };
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { mariadb: tools } = await testTools();
  const dir = await mkdtemp(join(tmpdir(), 'boardwalk-db-'));
  const access = { port: await findFreePort(), password: randomBytes(16).toString('hex') };
  const supervisor = createSupervisor({ logDir: dir });
  const stop = async () => {
    await supervisor.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await supervisor.start(
      await createMariadbPart({
        tools,
        dir,
        ...access,
        initSql: [
          "GRANT ALL ON `boardwalk\\_test\\_%`.* TO boardwalk@'127.0.0.1';",
          `CREATE USER IF NOT EXISTS administrator@'127.0.0.1' IDENTIFIED BY '${access.password}';`,
          "GRANT ALL ON *.* TO administrator@'127.0.0.1' WITH GRANT OPTION;",
        ],
        // Nothing of it survives the run, so nothing waits for the disk.
        settings: [
          '--innodb-flush-log-at-trx-commit=0',
          '--innodb-doublewrite=0',
          '--innodb-flush-method=nosync',
        ],
      }),
    );
    await run(process.execPath, [join(repositoryRoot, 'bin/migrate.ts'), 'up'], {
      env: { ...process.env, DATABASE_URL: mariadbUrl(access) },
    });
  } catch (error) {
    await stop();
    throw error;
  }
  project.provide('mariadb', access);
  return stop;
}
