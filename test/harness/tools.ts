/** The programs that the tests run against: installed once per checkout, as `npm start` does. */
import { join } from 'node:path';
import type { MariadbTools } from '../../bin/setup/mariadb.ts';
import type { PartName, PartTools } from '../../bin/setup/parts.ts';
import { installTools, type Tools } from '../../bin/setup/tools.ts';

export const repositoryRoot = join(import.meta.dirname, '../..');
export const toolsDir = process.env.BOARDWALK_TOOLS ?? join(repositoryRoot, '.boardwalk/tools');

export async function testTools(): Promise<Tools & { mariadb: MariadbTools }> {
  const { mariadb, ...tools } = await installTools({ toolsDir, mariadb: true, say: () => undefined });
  if (mariadb === undefined) throw new Error('asked for MariaDB');
  return { ...tools, mariadb };
}

const partsByName = new Map<PartName, Promise<unknown>>();

/** One of the neighbours: installed by `npm test`, or here by whoever runs a test file alone. */
export function testPart<P extends PartName>(name: P): Promise<PartTools[P]> {
  const known = partsByName.get(name) ?? install(name);
  partsByName.set(name, known);
  return known as Promise<PartTools[P]>;
}

async function install(name: PartName): Promise<unknown> {
  const { parts } = await installTools({ toolsDir, mariadb: true, parts: [name], say: () => undefined });
  return parts[name];
}
