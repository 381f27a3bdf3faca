import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { repositoryRoot } from '../harness/tools.ts';

const folder = join(repositoryRoot, 'integrations/node-red-contrib-boardwalk');
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
  scripts?: object;
  dependencies?: object;
  'node-red': { nodes: Record<string, string> };
};

describe('the Node-RED package', () => {
  it('carries its nodes, their editor pages, an example and the licence, and runs nothing when installed', async () => {
    const pack = promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: folder,
    });
    const [packed] = JSON.parse((await pack).stdout) as { files: { path: string }[] }[];
    const paths = packed?.files.map((each) => each.path) ?? [];
    const nodes = Object.values(manifest['node-red'].nodes);
    expect(paths).toEqual(
      expect.arrayContaining(['LICENSE', 'README.md', 'package.json', 'examples/first-steps.json', ...nodes]),
    );
    expect(paths).toEqual(expect.arrayContaining(nodes.map((each) => each.replace(/\.js$/, '.html'))));
    expect(manifest.scripts).toBeUndefined();
    expect(manifest.dependencies).toBeUndefined();
  });

  it('has an example without a key, of nodes that it has', () => {
    const flow = JSON.parse(readFileSync(join(folder, 'examples/first-steps.json'), 'utf8')) as {
      type: string;
    }[];
    const own = flow.map(({ type }) => type).filter((type) => type.startsWith('boardwalk'));
    expect([...new Set(own)].sort()).toEqual([
      'boardwalk call',
      'boardwalk presence',
      'boardwalk readings',
      'boardwalk-server',
    ]);
    expect(JSON.stringify(flow)).not.toMatch(/apiKey|credentials/);
  });
});
