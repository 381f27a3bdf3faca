import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findOrInstallCrossbar } from '../../../bin/setup/crossbar.ts';
import { unpackDebianPackages } from '../../../bin/setup/debian-packages.ts';
import { findOrInstallPart } from '../../../bin/setup/parts.ts';

describe('what the machine lacks is said in a sentence', () => {
  const path = process.env.PATH;
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'boardwalk-path-'));
    process.env.PATH = dir;
  });
  afterEach(async () => {
    process.env.PATH = path;
    await rm(dir, { recursive: true, force: true });
  });

  const install = () => findOrInstallCrossbar(join(dir, 'tools'), () => undefined);

  it('no Python', async () => {
    await expect(install()).rejects.toThrow(
      'There is no python3 here: install Python 3.11 or later, which Crossbar runs on.',
    );
  });

  it('a Python that is too old', async () => {
    const script = '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n';
    await writeFile(join(dir, 'python3'), script, { mode: 0o755 });
    await expect(install()).rejects.toThrow('Python 3.9.2 is too old: Crossbar needs Python 3.11 or later.');
  });

  it('no package manager', async () => {
    const unpacking = unpackDebianPackages({
      packages: ['x'],
      into: join(dir, 'into'),
      scratch: join(dir, 'scratch'),
      dependencies: true,
      purpose: 'There is no MariaDB: install it',
    });
    await expect(unpacking).rejects.toThrow(
      'There is no MariaDB: install it, because this system has no apt-get to fetch it with.',
    );
  });

  it('a neighbour that the tests need', async () => {
    const options = { toolsDir: join(dir, 'tools'), say: () => undefined };
    await expect(findOrInstallPart('mosquitto', options)).rejects.toThrow(
      'There is no Mosquitto: install mosquitto and mosquitto-clients, because this system has no apt-get to fetch it with.',
    );
    await expect(findOrInstallPart('nodeRed', options)).rejects.toThrow(
      'There is no npm here to install Node-RED with: install Node.js with npm.',
    );
  });
});
