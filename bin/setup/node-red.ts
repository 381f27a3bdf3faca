/** Installs the pinned Node-RED of deploy/node-red; it runs on the Node that runs this. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { findProgram, run } from './exec.ts';
import { type Say, SetupError, shownPath, withProgress } from './progress.ts';

export interface NodeRedTools {
  /** The script that Node runs. */
  script: string;
}

const source = join(import.meta.dirname, '../../deploy/node-red');
const files = ['package.json', 'package-lock.json', '.npmrc'] as const;

export async function findOrInstallNodeRed(options: {
  toolsDir: string;
  say: Say;
  signal?: AbortSignal;
}): Promise<NodeRedTools> {
  const { toolsDir, say, signal } = options;
  const into = join(toolsDir, 'node-red');
  const stamp = join(into, 'complete');
  const wanted = createHash('sha256')
    .update(await readFile(join(source, 'package-lock.json')))
    .digest('hex');
  const tools = { script: join(into, 'node_modules/node-red/red.js') };
  if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === wanted) return tools;
  await rm(into, { recursive: true, force: true });
  await mkdir(into, { recursive: true });
  for (const name of files) await copyFile(join(source, name), join(into, name));
  await withProgress(
    say,
    `Installing Node-RED into ${shownPath(into)} (60 MB, about 20 s)`,
    'Node-RED is installed',
    () => installModules(into, signal),
  );
  await writeFile(stamp, wanted);
  return tools;
}

async function installModules(into: string, signal?: AbortSignal): Promise<void> {
  if (findProgram('npm') === undefined)
    throw new SetupError('There is no npm here to install Node-RED with: install Node.js with npm.');
  // npm runs on the first `node` of the PATH and picks packages for that version.
  const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}` };
  try {
    await run('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: into,
      env,
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new SetupError(`Node-RED can't be installed here: ${(error as Error).message}`, { cause: error });
  }
}
