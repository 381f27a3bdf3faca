/** A Node-RED of its own, on loopback: its flows are programs, so its editor and admin API ask for a password. */
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { NodeRedTools } from '../setup/node-red.ts';
import type { Part } from '../stack/supervisor.ts';

export interface NodeRedOptions {
  tools: NodeRedTools;
  dir: string;
  port: number;
  /** Of the editor's user `admin`; also the bearer token of its admin API. */
  password: string;
  /** Folders of node packages to offer in the editor, e.g. of this project. */
  packages?: readonly string[];
}

export async function createNodeRedPart(options: NodeRedOptions): Promise<Part> {
  const { tools, dir, port, password, packages = [] } = options;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await linkPackages(dir, packages);
  await writeFile(join(dir, 'password'), password, { mode: 0o600 });
  await writeFile(join(dir, 'settings.cjs'), settingsText(port));
  return {
    name: 'node-red',
    command: process.execPath,
    args: [tools.script, '--userDir', dir, '--settings', join(dir, 'settings.cjs')],
    env: { ...process.env, HOME: dir },
    cwd: dir,
    ready: async () => {
      const response = await fetch(`http://127.0.0.1:${port}/flows`, {
        headers: { Authorization: `Bearer ${password}` },
        signal: AbortSignal.timeout(4_000),
      });
      if (!response.ok) throw new Error(`Node-RED answers ${response.status}`);
    },
  };
}

/** As `npm install <folder>` does: a link among the modules, and a line that makes Node-RED load it. */
async function linkPackages(dir: string, packages: readonly string[]): Promise<void> {
  const modules = join(dir, 'node_modules');
  await mkdir(modules, { recursive: true });
  const dependencies: Record<string, string> = {};
  for (const folder of packages) {
    const { name } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { name: string };
    dependencies[name] = `file:${folder}`;
    await rm(join(modules, basename(name)), { recursive: true, force: true });
    await symlink(folder, join(modules, basename(name)), 'dir');
  }
  const text = JSON.stringify({ name: 'node-red-project', private: true, dependencies }, null, 2);
  await writeFile(join(dir, 'package.json'), `${text}\n`);
}

/** Node-RED reads its settings as a module; the password comes from a file beside it. */
function settingsText(port: number): string {
  return `// Written at each start by Boardwalk.
const { createHash, timingSafeEqual } = require('node:crypto');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const digest = (text) => createHash('sha256').update(String(text)).digest();
const expected = digest(readFileSync(join(__dirname, 'password'), 'utf8'));
const isPassword = (text) => timingSafeEqual(digest(text), expected);
const admin = { username: 'admin', permissions: '*' };

module.exports = {
  uiHost: '127.0.0.1',
  uiPort: ${port},
  flowFile: 'flows.json',
  credentialSecret: readFileSync(join(__dirname, 'password'), 'utf8'),
  adminAuth: {
    type: 'credentials',
    users: async (name) => (name === 'admin' ? admin : null),
    authenticate: async (name, password) => (name === 'admin' && isPassword(password) ? admin : null),
    tokens: async (token) => (isPassword(token) ? admin : null),
  },
  externalModules: { autoInstall: false, palette: { allowInstall: false }, modules: { allowInstall: false } },
  diagnostics: { enabled: false },
  telemetry: { enabled: false, updateNotification: false },
  editorTheme: { tours: false, projects: { enabled: false } },
  logging: { console: { level: 'info', metrics: false, audit: false } },
};
`;
}
