/** The programs that the tests run against: installed once per checkout, as `npm start` does. */
import { join } from 'node:path';
import type { MariadbTools } from '../../bin/setup/mariadb.ts';
import { installTools, type Tools } from '../../bin/setup/tools.ts';

export const repositoryRoot = join(import.meta.dirname, '../..');
export const toolsDir = process.env.BOARDWALK_TOOLS ?? join(repositoryRoot, '.boardwalk/tools');

export async function testTools(): Promise<Tools & { mariadb: MariadbTools }> {
  const { crossbar, mariadb } = await installTools({ toolsDir, mariadb: true, say: () => undefined });
  if (mariadb === undefined) throw new Error('asked for MariaDB');
  return { crossbar, mariadb };
}
