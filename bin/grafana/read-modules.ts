/** The modules of a tenant with what they measure, read over the HTTP API like anybody's. */

import { asArray, asObject, asOneOf, asString, type JsonObject } from '../../common/runtime/guards.ts';
import { readingTypes } from '../../common/wamp/readings.ts';
import type { GrafanaTenant } from '../../deploy/grafana/dashboard.ts';
import type { SeenModule } from '../../deploy/grafana/kinds.ts';
import type { ApiClient } from '../stack/api-client.ts';

/** @param reference id, name or slug */
export async function readTenant(api: ApiClient, reference: string): Promise<GrafanaTenant> {
  const tenant = await api.request('GET', `/v1/tenants/${encodeURIComponent(reference)}`);
  return {
    id: asString(tenant.id, 'id', { max: 36 }),
    name: asString(tenant.name, 'name', { max: 100 }),
  };
}

export async function readModules(api: ApiClient, tenantId: string): Promise<SeenModule[]> {
  const boards = await readAll(api, `/v1/boards?tenant=${tenantId}&sort=name`);
  const modules: SeenModule[] = [];
  for (const board of boards) {
    const path = `/v1/boards/${asString(board.uuid, 'uuid', { max: 36 })}`;
    const kinds = new Map(
      (await readAll(api, `${path}/modules?`)).map((each) => [
        asString(each.name, 'name', { max: 60 }),
        typeof each.kind === 'string' ? each.kind : null,
      ]),
    );
    modules.push(...toModules(await readAll(api, `${path}/streams?`), kinds));
  }
  return modules;
}

function toModules(streams: readonly JsonObject[], kinds: ReadonlyMap<string, string | null>): SeenModule[] {
  const modules = new Map<string, SeenModule>();
  for (const stream of streams) {
    const full = asString(stream.name, 'name', { max: 150 });
    const slash = full.indexOf('/');
    const name = full.slice(0, slash);
    const module = modules.get(name) ?? { name, kind: kinds.get(name) ?? null, measurements: [] };
    module.measurements.push({
      name: full.slice(slash + 1),
      type: asOneOf(stream.type, 'type', readingTypes),
      unit: asString(stream.unit, 'unit', { min: 0, max: 30 }),
    });
    modules.set(name, module);
  }
  return [...modules.values()];
}

/** Every item of a list, page by page. */
async function readAll(api: ApiClient, path: string): Promise<JsonObject[]> {
  const items: JsonObject[] = [];
  let after = '';
  do {
    const page = await api.request('GET', `${path}&limit=1000${after}`);
    items.push(...asArray(page.items, 'items', { max: 1000 }).map((each) => asObject(each, 'items')));
    after = typeof page.next === 'string' ? `&after=${encodeURIComponent(page.next)}` : '';
  } while (after !== '');
  return items;
}
