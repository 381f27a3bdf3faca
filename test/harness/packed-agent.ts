/** The board agent as a gateway gets it: packed, and installed from the tarball into an empty folder. */
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryRoot } from './tools.ts';

const run = promisify(execFile);

/** Where npm scripts find this project's Node first; a gateway has it as /usr/bin/node. */
export const gatewayEnv = {
  ...process.env,
  PATH: `${join(repositoryRoot, 'node_modules/.bin')}:${process.env.PATH}`,
};

export interface PackedAgent {
  /** The folder that it is installed in. */
  folder: string;
  program: string;
}

/** Builds, packs and installs below `dir`. */
export async function installPackedAgent(dir: string): Promise<PackedAgent> {
  const workspace = join(repositoryRoot, 'board-agent');
  const folder = join(dir, 'gateway');
  const env = gatewayEnv;
  await run('npm', ['run', '--silent', 'build'], { cwd: workspace, env });
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', dir], { cwd: workspace, env });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{"private":true}');
  copyFileSync(join(repositoryRoot, '.npmrc'), join(folder, '.npmrc'));
  await run('npm', ['install', '--prefer-offline', join(dir, filename)], { cwd: folder, env });
  return { folder, program: join(folder, 'node_modules/.bin/boardwalk-agent') };
}
