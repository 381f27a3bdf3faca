/**
 * `npm run grafana -- --url URL --key-file FILE --tenant TENANT --out DIR`: writes what a Grafana needs
 * to show a tenant's modules. See docs/grafana.md.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../common/runtime/app-error.ts';
import { type DataSourceType, dataSourceTypes } from '../deploy/grafana/dashboard.ts';
import { groupByKind } from '../deploy/grafana/kinds.ts';
import { createProvisioning, dashboardPrefix } from '../deploy/grafana/provisioning.ts';
import { readModules, readTenant } from './grafana/read-modules.ts';
import { createApiClient } from './stack/api-client.ts';

/** sysexits.h: used wrongly. */
const exitUsage = 64;
const usage = `usage: npm run grafana -- --url URL --key-file FILE --tenant TENANT --out DIR
         [--data-sources ${dataSourceTypes.join(',')}] [--dashboards-path PATH]`;

interface Arguments {
  url: string;
  keyFile: string;
  tenant: string;
  out: string;
  dataSources: DataSourceType[];
  dashboardsPath: string;
}

function readArguments(): Arguments | undefined {
  const text = { type: 'string' } as const;
  const options = {
    url: text,
    'key-file': text,
    tenant: text,
    out: text,
    'data-sources': text,
    'dashboards-path': text,
  };
  try {
    const { values } = parseArgs({ options });
    const { url, tenant, out, 'key-file': keyFile } = values;
    const names = (values['data-sources'] ?? dataSourceTypes.join(',')).split(',');
    const dataSources = dataSourceTypes.filter((type) => names.includes(type));
    const isComplete =
      url !== undefined && keyFile !== undefined && tenant !== undefined && out !== undefined;
    if (!isComplete || dataSources.length !== names.length) throw new Error(usage);
    const dashboardsPath = values['dashboards-path'] ?? '/var/lib/grafana/dashboards/boardwalk';
    return { url: url.replace(/\/+$/, ''), keyFile, tenant, out, dataSources, dashboardsPath };
  } catch (error) {
    console.error(messageOf(error));
    return undefined;
  }
}

async function generate({ url, keyFile, tenant: reference, out, ...options }: Arguments): Promise<void> {
  const api = createApiClient(url, (await readFile(keyFile, 'utf8')).trim(), 30_000);
  const tenant = await readTenant(api, reference);
  const kinds = groupByKind(await readModules(api, tenant.id));
  const files = createProvisioning({ tenant, kinds, ...options });
  for (const [path, content] of files) {
    await mkdir(dirname(join(out, path)), { recursive: true });
    await writeFile(join(out, path), content);
  }
  await mkdir(join(out, 'dashboards'), { recursive: true });
  for (const name of await readdir(join(out, 'dashboards')))
    if (name.startsWith(dashboardPrefix) && !files.has(`dashboards/${name}`))
      await rm(join(out, 'dashboards', name));
  const shown = kinds.map((kind) => `${kind.title} (${kind.modules.length})`).join(', ');
  console.log(`${files.size} files in ${out}; kinds of modules: ${shown || 'none'}`);
}

const given = readArguments();
if (given === undefined) process.exit(exitUsage);
try {
  await generate(given);
} catch (error) {
  console.error(messageOf(error));
  process.exit(1);
}
