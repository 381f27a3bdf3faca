/** The versions of what the bench runs against. */
import { run } from '../bin/setup/exec.ts';
import { testTools } from '../test/harness/tools.ts';

export async function toolVersions(): Promise<{ mariadb: string; crossbar: string }> {
  const { mariadb, crossbar } = await testTools();
  const env = { ...process.env, ...mariadb.env };
  const server = await run(mariadb.mariadbd, ['--no-defaults', '--version'], { env });
  const script = "import importlib.metadata as m; print(m.version('crossbar'))";
  return {
    mariadb: /Ver (\S+)/.exec(server)?.[1] ?? 'unknown',
    crossbar: (await run(crossbar.python, ['-c', script])).trim(),
  };
}
