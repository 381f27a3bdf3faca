/** Who may import whom. Processes meet on the wire and in rows, never in code. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const servers = ['api', 'conductor', 'wamp-agent'];

/** Folder → what its files may import: folders of the project, and packages. */
const allowed: Record<string, { folders: string[]; packages?: RegExp; not?: RegExp }> = {
  'common/runtime': { folders: ['common/runtime'], packages: /^(node:|pino$|prom-client$)/ },
  'common/wamp': { folders: ['common/wamp', 'common/runtime'], packages: /^(node:|autobahn$)/ },
  'common/operations': {
    folders: ['common/operations', 'common/runtime', 'common/wamp'],
    packages: /^(node:|croner$)/,
  },
  'common/alarms': { folders: ['common/alarms', 'common/runtime', 'common/wamp'] },
  'common/db': {
    folders: [
      'common/db',
      'common/alarms',
      'common/operations',
      'common/runtime',
      'common/sinks',
      'common/wamp',
      'migrations',
    ],
    packages: /^(node:|typeorm$|mysql2)/,
  },
  'common/relay': {
    folders: ['common/relay', 'common/runtime', 'common/db', 'common/wamp'],
    packages: /^(node:|undici$)/,
  },
  'common/wake': {
    folders: ['common/wake', 'common/relay', 'common/runtime', 'common/db'],
    packages: /^node:/,
  },
  'common/artifacts': {
    folders: ['common/artifacts', 'common/runtime', 'common/db'],
    packages: /^node:/,
  },
  'common/sinks': {
    folders: ['common/sinks', 'common/alarms', 'common/webhooks', 'common/runtime'],
    packages: /^node:/,
  },
  'common/webhooks': { folders: ['common/webhooks', 'common/runtime'], packages: /^node:/ },
  migrations: { folders: ['migrations'], packages: /^(node:|typeorm$)/ },
  'board-agent': {
    folders: ['board-agent', 'common/operations', 'common/wamp', 'common/runtime'],
    not: /^(typeorm|mysql2|express)/,
  },
  ...Object.fromEntries(servers.map((each) => [each, { folders: [each, 'common'] }])),
};

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !/node_modules|dist/.test(entry.parentPath),
    )
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [
    ...text.matchAll(
      /^(?:import|export)\s[^;]*?from\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gms,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

function fault(folder: string, file: string, target: string): string | undefined {
  const rule = allowed[folder];
  if (!rule) return undefined;
  if (!target.startsWith('.')) {
    const refused = (rule.packages && !rule.packages.test(target)) || rule.not?.test(target);
    return refused ? `${file} imports ${target}` : undefined;
  }
  const path = relative(root, resolve(root, dirname(file), target));
  return rule.folders.some((each) => path.startsWith(`${each}/`)) ? undefined : `${file} imports ${path}`;
}

describe('import directions', () => {
  it.each(Object.keys(allowed))('%s imports only what its row allows', (folder) => {
    const faults = sources(folder).flatMap((file) =>
      imports(file).map((target) => fault(folder, file, target)),
    );
    expect(faults.filter((each) => each !== undefined)).toEqual([]);
  });

  it('autobahn is imported only under wamp-agent, board-agent and common/wamp', () => {
    const files = ['common', ...servers, 'board-agent', 'migrations', 'bin'].flatMap(sources);
    const users = files.filter((file) => imports(file).includes('autobahn'));
    expect(users.filter((file) => !/^(wamp-agent|board-agent|common\/wamp)\//.test(file))).toEqual([]);
  });

  it('would find a forbidden import', () => {
    expect(fault('api', 'api/boards/x.ts', '../../wamp-agent/relay.ts')).toBe(
      'api/boards/x.ts imports wamp-agent/relay.ts',
    );
    expect(fault('board-agent', 'board-agent/x.ts', 'typeorm')).toBe('board-agent/x.ts imports typeorm');
  });
});
