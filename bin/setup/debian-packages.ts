/**
 * Debian packages without root: apt resolves and downloads with state and cache folders of its own,
 * and dpkg unpacks into a folder of ours. The system stays as it is.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, run } from './exec.ts';
import { type Say, SetupError, withProgress } from './progress.ts';

export interface UnpackOptions {
  packages: readonly string[];
  /** Where the packages' files go, as a root folder (`<into>/usr/bin/…`). */
  into: string;
  /** Scratch folder for apt's own state. */
  scratch: string;
  /** With the packages that they need and this system lacks, or just these. */
  dependencies: boolean;
  /** What the packages are for, in the error for a system without apt. */
  purpose: string;
  signal?: AbortSignal;
}

export async function unpackDebianPackages(options: UnpackOptions): Promise<void> {
  if (findProgram('apt-get') === undefined || findProgram('dpkg-deb') === undefined)
    throw new SetupError(`${options.purpose}, because this system has no apt-get to fetch it with.`);
  const archives = join(options.scratch, 'archives');
  const lists = join(options.scratch, 'lists');
  await mkdir(join(archives, 'partial'), { recursive: true });
  await mkdir(join(lists, 'partial'), { recursive: true });

  const runOptions = options.signal ? { signal: options.signal } : {};
  const apt = (args: readonly string[], listsDir?: string) =>
    run('apt-get', [...aptSettings(options.scratch, listsDir), ...args], { ...runOptions, cwd: archives });
  const download = (listsDir?: string) =>
    options.dependencies
      ? apt(['install', '--yes', '--download-only', '--no-install-recommends', ...options.packages], listsDir)
      : apt(['download', ...options.packages], listsDir);
  try {
    await download();
  } catch {
    options.signal?.throwIfAborted();
    // The system's lists are missing or older than the archive: fetch our own. Unreachable extra
    // sources make the update fail although what we need is there, so the download is the judge.
    await apt(['update'], lists).catch(() => undefined);
    await download(lists);
  }

  await mkdir(options.into, { recursive: true });
  const files = (await readdir(archives)).filter((name) => name.endsWith('.deb'));
  for (const file of files) await run('dpkg-deb', ['-x', join(archives, file), options.into], runOptions);
  await rm(options.scratch, { recursive: true, force: true });
}

function aptSettings(scratch: string, listsDir: string | undefined): string[] {
  const settings = [
    `Dir::State=${scratch}`,
    `Dir::State::Lists=${listsDir ?? '/var/lib/apt/lists'}`,
    'Dir::State::status=/var/lib/dpkg/status',
    `Dir::Cache=${scratch}`,
    `Dir::Cache::Archives=${join(scratch, 'archives')}`,
    // The only lock left would be the system's, which needs root; nothing of it is changed.
    'Debug::NoLocking=true',
    // As root apt would drop to a user who may not write here.
    'APT::Sandbox::User=root',
    'APT::Keep-Downloaded-Packages=true',
    'Acquire::Retries=3',
  ];
  return ['-q', ...settings.flatMap((setting) => ['-o', setting])];
}

export interface UnpackOnceOptions {
  /** Folder below the tools folder. */
  name: string;
  packages: readonly string[];
  /** As a person calls it, e.g. `MariaDB`. */
  title: string;
  /** In brackets after it: size and time. */
  about: string;
  /** Start of the error for a system without apt. */
  purpose: string;
  toolsDir: string;
  say: Say;
  signal?: AbortSignal;
}

/** Unpacks packages with what they need, unless it was done before; gives back the root folder. */
export async function unpackOnce(options: UnpackOnceOptions): Promise<string> {
  const { name, packages, title, about, purpose, toolsDir, say, signal } = options;
  const root = join(toolsDir, name);
  const stamp = join(root, 'complete');
  const wanted = `${packages.join(' ')}\n`;
  if (existsSync(stamp) && (await readFile(stamp, 'utf8')) === wanted) return root;
  await rm(root, { recursive: true, force: true });
  await withProgress(say, `Unpacking ${title} (${about})`, `${title} is unpacked`, () =>
    unpackDebianPackages({
      packages,
      into: root,
      scratch: join(toolsDir, `${name}-apt`),
      dependencies: true,
      purpose,
      ...(signal ? { signal } : {}),
    }),
  );
  await writeFile(stamp, wanted);
  return root;
}

/** Value of LD_LIBRARY_PATH for programs of an unpacked tree: its `/usr/lib/<triplet>` and `/lib/<triplet>`. */
export async function unpackedLibraryPath(root: string): Promise<string> {
  const parents = [join(root, 'usr/lib'), join(root, 'lib')].filter((dir) => existsSync(dir));
  const entries = await Promise.all(
    parents.map(async (dir) => (await readdir(dir)).map((name) => join(dir, name))),
  );
  return entries
    .flat()
    .filter((path) => /linux-gnu/.test(path))
    .join(':');
}
