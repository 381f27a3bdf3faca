/**
 * Builds what is packed: Node strips no types below node_modules, so the tarball holds JavaScript.
 * The root is one level up, so `common` comes along below dist/.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const here = import.meta.dirname;
rmSync(join(here, 'dist'), { recursive: true, force: true });
const { status } = spawnSync('tsc', ['-p', join(here, 'tsconfig.build.json')], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
// From the repository's deploy folder, so that the tarball is enough on a gateway.
cpSync(join(here, '../deploy/systemd/boardwalk-agent.service'), join(here, 'dist/boardwalk-agent.service'));
