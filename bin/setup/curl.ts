/** A bare Debian has no curl; the tests of the written-down commands need one. */
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unpackDebianPackages, unpackedLibraryPath } from './debian-packages.ts';
import { findProgram } from './exec.ts';
import { type Say, withProgress } from './progress.ts';

/** Gives the folder to put on PATH, or undefined when the machine has curl. */
export async function installCurlUnlessThere(toolsDir: string, say: Say): Promise<string | undefined> {
  if (findProgram('curl') !== undefined) return undefined;
  const root = join(toolsDir, 'curl');
  const bin = join(root, 'bin');
  const program = join(bin, 'curl');
  if (existsSync(program)) return bin;
  await rm(root, { recursive: true, force: true });
  await withProgress(say, 'Unpacking curl (about 3 s)', 'curl is unpacked', () =>
    unpackDebianPackages({
      packages: ['curl'],
      into: root,
      scratch: join(toolsDir, 'curl-apt'),
      dependencies: true,
      purpose: 'There is no curl: install it',
    }),
  );
  await mkdir(bin, { recursive: true });
  const script = [
    '#!/bin/sh',
    `LD_LIBRARY_PATH='${await unpackedLibraryPath(root)}' exec '${join(root, 'usr/bin/curl')}' "$@"`,
    '',
  ];
  await writeFile(program, script.join('\n'), { mode: 0o755 });
  return bin;
}
