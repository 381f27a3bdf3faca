/** Finds a MariaDB server, or unpacks Debian's into the tools folder. */
import { dirname, join } from 'node:path';
import { unpackedLibraryPath, unpackOnce } from './debian-packages.ts';
import { findProgram, run } from './exec.ts';
import type { Say } from './progress.ts';

export interface MariadbTools {
  mariadbd: string;
  installDb: string;
  /** The server's own idea of `/usr`. */
  basedir: string;
  /** Variables that its programs need. */
  env: Record<string, string>;
}

/** DESIGN's floor: what the migrations and queries are written for. */
const oldestVersion = [10, 6] as const;
const packages = ['mariadb-server-core', 'mariadb-client-core'];

export async function findOrInstallMariadb(
  toolsDir: string,
  say: Say,
  signal?: AbortSignal,
): Promise<MariadbTools> {
  return (await findInstalled()) ?? (await unpacked(toolsDir, say, signal));
}

async function findInstalled(): Promise<MariadbTools | undefined> {
  const mariadbd = findProgram('mariadbd', ['/usr/sbin', '/usr/local/sbin', '/usr/libexec']);
  const installDb = findProgram('mariadb-install-db', ['/usr/bin', '/usr/local/bin']);
  if (mariadbd === undefined || installDb === undefined) return undefined;
  const version = /Ver (\d+)\.(\d+)/.exec(await run(mariadbd, ['--no-defaults', '--version']));
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
  const enough = major > oldestVersion[0] || (major === oldestVersion[0] && minor >= oldestVersion[1]);
  return enough ? { mariadbd, installDb, basedir: dirname(dirname(mariadbd)), env: {} } : undefined;
}

async function unpacked(toolsDir: string, say: Say, signal?: AbortSignal): Promise<MariadbTools> {
  const root = await unpackOnce({
    name: 'mariadb',
    packages,
    title: 'MariaDB',
    about: '8 MB, about 5 s',
    purpose:
      'There is no MariaDB: install mariadb-server (10.6 or later) or set DATABASE_URL to an existing server',
    toolsDir,
    say,
    ...(signal ? { signal } : {}),
  });
  return {
    mariadbd: join(root, 'usr/sbin/mariadbd'),
    installDb: join(root, 'usr/bin/mariadb-install-db'),
    basedir: join(root, 'usr'),
    env: { LD_LIBRARY_PATH: await unpackedLibraryPath(root) },
  };
}
