/**
 * Installs Crossbar into a private virtual environment. Debian splits Python: pip and venv may be
 * missing. `uv` replaces both (and takes a fifth of the time), so all that is needed is some pip to
 * fetch it with, and Debian has one in a package that can be unpacked.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackDebianPackages } from './debian-packages.ts';
import { findProgram, run } from './exec.ts';
import { type Say, SetupError, shownPath, withProgress } from './progress.ts';

export interface CrossbarTools {
  crossbar: string;
  /** The environment's Python; has autobahn too. */
  python: string;
}

const uvVersion = '0.13.9';
const requirements = join(import.meta.dirname, '../../deploy/crossbar/requirements.txt');

export async function findOrInstallCrossbar(
  toolsDir: string,
  say: Say,
  signal?: AbortSignal,
): Promise<CrossbarTools> {
  const venv = join(toolsDir, 'venv');
  const tools = { crossbar: join(venv, 'bin/crossbar'), python: join(venv, 'bin/python') };
  const stamp = join(venv, 'complete');
  const wanted = createHash('sha256')
    .update(await readFile(requirements))
    .digest('hex');
  if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === wanted && (await works(tools.python)))
    return tools;

  const python = await findPython();
  await rm(venv, { recursive: true, force: true });
  await withProgress(
    say,
    `Installing Crossbar into ${shownPath(venv)} (about 20 s)`,
    'Crossbar is installed',
    () => install({ python, venv, toolsDir, ...(signal ? { signal } : {}) }),
  );
  await writeFile(stamp, wanted);
  return tools;
}

async function install(options: {
  python: string;
  venv: string;
  toolsDir: string;
  signal?: AbortSignal;
}): Promise<void> {
  const { python, venv } = options;
  const runOptions = options.signal ? { signal: options.signal } : {};
  const pip = await findPip(options);
  const uv = await findUv(options, pip);
  if (uv !== undefined) {
    try {
      await installWithUv(uv, { python, venv, runOptions });
      return;
    } catch {
      // It knows neither pip's configuration nor the machine's certificates; pip, which brought it, does.
      options.signal?.throwIfAborted();
      await rm(venv, { recursive: true, force: true });
    }
  }
  await run(python, ['-m', 'venv', '--without-pip', venv], runOptions);
  const [program, ...args] = pip(join(venv, 'bin/python'));
  await run(program, [...args, 'install', '--quiet', '--requirement', requirements], runOptions);
}

async function installWithUv(
  uv: string,
  { python, venv, runOptions }: { python: string; venv: string; runOptions: { signal?: AbortSignal } },
): Promise<void> {
  const env = { ...process.env, UV_PYTHON_DOWNLOADS: 'never', UV_NO_CONFIG: '1', UV_NO_CACHE: '1' };
  await run(uv, ['venv', '--quiet', '--python', python, venv], { ...runOptions, env });
  await run(
    uv,
    ['pip', 'install', '--quiet', '--python', join(venv, 'bin/python'), '--requirement', requirements],
    { ...runOptions, env },
  );
}

/** `python3` or the newest one beside it that is new enough. */
async function findPython(): Promise<string> {
  const names = ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11'];
  const found = names.map((name) => findProgram(name)).filter((path) => path !== undefined);
  if (found.length === 0)
    throw new SetupError('There is no python3 here: install Python 3.11 or later, which Crossbar runs on.');
  for (const python of found) {
    const check = run(python, ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))']);
    if (
      await check.then(
        () => true,
        () => false,
      )
    )
      return python;
  }
  const version = (await run(found[0]!, ['--version'])).trim();
  throw new SetupError(`${version} is too old: Crossbar needs Python 3.11 or later.`);
}

/** Gives the command line that runs pip for a Python. */
type Pip = (python: string) => [string, ...string[]];

async function findPip(options: { python: string; toolsDir: string; signal?: AbortSignal }): Promise<Pip> {
  const { python, toolsDir } = options;
  if (await works(python, ['-m', 'pip', '--version'])) {
    const before = [python, '-m', 'pip'] as const;
    return (target) => (target === python ? [...before] : [...before, '--python', target]);
  }
  const into = join(toolsDir, 'pip');
  await unpackDebianPackages({
    packages: ['python3-pip-whl'],
    into,
    scratch: join(toolsDir, 'pip-apt'),
    dependencies: false,
    purpose: 'Python has no pip: install python3-pip or python3-venv',
    ...(options.signal ? { signal: options.signal } : {}),
  });
  const wheels = join(into, 'usr/share/python-wheels');
  const wheel = (await readdir(wheels)).find((name) => name.startsWith('pip-'));
  if (wheel === undefined) throw new SetupError('Python has no pip: install python3-pip or python3-venv.');
  // A wheel is a zip file, and Python runs packages straight out of one.
  return (target) => [target, join(wheels, wheel, 'pip')];
}

async function findUv(
  options: { python: string; toolsDir: string; signal?: AbortSignal },
  pip: Pip,
): Promise<string | undefined> {
  const onPath = findProgram('uv');
  if (onPath !== undefined) return onPath;
  const into = join(options.toolsDir, 'uv');
  const uv = join(into, 'bin/uv');
  if (await works(uv)) return uv;
  const [program, ...args] = pip(options.python);
  try {
    await run(program, [...args, 'install', '--quiet', '--upgrade', '--target', into, `uv==${uvVersion}`], {
      ...(options.signal ? { signal: options.signal } : {}),
    });
    return uv;
  } catch {
    // No build of it for this machine: pip does the same, five times slower.
    options.signal?.throwIfAborted();
    return undefined;
  }
}

async function works(program: string, args: readonly string[] = ['--version']): Promise<boolean> {
  return run(program, args).then(
    () => true,
    () => false,
  );
}
