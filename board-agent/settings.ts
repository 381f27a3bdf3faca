/**
 * The board's own settings: one file, JSON or YAML, checked against settings.schema.json, every
 * fault reported at once. What the server decides (intervals) is not here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { messageOf } from '../common/runtime/app-error.ts';
import { ConfigError } from '../common/runtime/config.ts';
import type { JsonObject } from '../common/runtime/guards.ts';
import type { LogLevel } from '../common/runtime/logger.ts';
import type { Connectivity } from '../common/wamp/agent-procedures.ts';
import { checkSchema, type SchemaFault } from '../common/wamp/schema-check.ts';
import { filePrefix } from './intake/decoders/file.ts';
import { checkRules } from './intake/rules.ts';
import { checkPatterns, withDefaults } from './schema-defaults.ts';
import { settingsSchema, spoolSchema } from './settings-schema.ts';
import { findSourceKind, kindOf, sourceKinds } from './sources/kinds.ts';
import type { SourceKind, SourceSettings } from './sources/source-kind.ts';

export interface AgentSettings {
  logLevel?: LogLevel;
  connectivity?: Connectivity['kind'];
  spool: { maxBytes: number; maxAgeDays: number; commitIntervalMs: number };
  sources: SourceSettings[];
}

const fileNames = ['settings.yaml', 'settings.yml', 'settings.json'];

/** Reads the named file, else the one in the state folder, else gives the defaults. Throws ConfigError. */
export async function loadSettings(stateDir: string, named?: string): Promise<AgentSettings> {
  const path = named ?? fileNames.map((name) => join(stateDir, name)).find((each) => existsSync(each));
  if (path === undefined) return parseSettings({});
  try {
    const settings = parseSettings(await parseFile(path, readFileSync(path, 'utf8')));
    return { ...settings, sources: settings.sources.map((each) => withPaths(each, dirname(path))) };
  } catch (error) {
    const faults = error instanceof ConfigError ? error.faults : [messageOf(error)];
    throw new ConfigError(faults.map((fault) => `${path}: ${fault}`));
  }
}

/** Decoders that are files are found from where the settings are. */
function withPaths(source: SourceSettings, folder: string): SourceSettings {
  if (!source.rules?.some(({ decoder }) => decoder.startsWith(filePrefix))) return source;
  const rules = source.rules.map((rule) =>
    rule.decoder.startsWith(filePrefix)
      ? { ...rule, decoder: filePrefix + resolve(folder, rule.decoder.slice(filePrefix.length)) }
      : rule,
  );
  return { ...source, rules };
}

async function parseFile(path: string, content: string): Promise<unknown> {
  if (extname(path) === '.json') return JSON.parse(content);
  // Only boards with a YAML file carry the parser.
  const { parse } = await import('yaml');
  return parse(content) ?? {};
}

/** Throws ConfigError with every fault and its JSON pointer. */
export function parseSettings(value: unknown): AgentSettings {
  const faults = findFaults(value);
  if (faults.length > 0)
    throw new ConfigError(
      faults.map(({ pointer, message }) => `${pointer === '' ? '/' : pointer} ${message}`),
    );
  const { spool, sources, ...rest } = value as Partial<AgentSettings>;
  return {
    ...rest,
    spool: withDefaults(spoolSchema, spool ?? {}) as AgentSettings['spool'],
    sources: (sources ?? [{ kind: 'system' }]).map((each) => ofKind(findSourceKind(each.kind), each)),
  };
}

function ofKind(kind: SourceKind | undefined, source: SourceSettings): SourceSettings {
  return withDefaults(kind?.schema ?? {}, source) as SourceSettings;
}

function findFaults(value: unknown): SchemaFault[] {
  // The kinds of sources are checked one by one below: "no form matches" would say nothing.
  const outer = {
    ...settingsSchema,
    properties: { ...settingsSchema.properties, sources: { type: 'array', maxItems: 200 } },
  };
  const faults = checkSchema(outer, value);
  const sources = (value as Partial<AgentSettings> | undefined)?.sources;
  if (faults.length > 0 || !Array.isArray(sources)) return faults;
  const taken = { module: new Set<string>(), name: new Set<string>() };
  for (const [index, source] of (sources as unknown[]).entries()) {
    const pointer = `/sources/${index}`;
    const kind = findSourceKind((source as JsonObject | null)?.kind);
    if (!kind) {
      const kinds = sourceKinds.map(kindOf).join(', ');
      faults.push({ pointer: `${pointer}/kind`, message: `must be one of ${kinds}` });
      continue;
    }
    const own = [
      ...checkSchema(kind.schema, source, pointer),
      ...checkPatterns(kind.schema, source, pointer),
    ];
    faults.push(...own);
    if (own.length > 0) continue;
    const full = ofKind(kind, source as SourceSettings);
    for (const member of ['module', 'name'] as const) {
      const wanted = full[member];
      if (wanted === undefined) continue;
      if (taken[member].has(wanted))
        faults.push({ pointer: `${pointer}/${member}`, message: `'${wanted}' is taken by another source` });
      taken[member].add(wanted);
    }
    faults.push(...checkRules(full.rules ?? [], pointer), ...kind.check(full, pointer));
  }
  return faults;
}
