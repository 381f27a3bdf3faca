/**
 * The board's own settings: one file, JSON or YAML, checked against settings.schema.json, every
 * fault reported at once. What the server decides (intervals) is not here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { messageOf } from '../common/runtime/app-error.ts';
import { ConfigError } from '../common/runtime/config.ts';
import type { JsonObject } from '../common/runtime/guards.ts';
import type { LogLevel } from '../common/runtime/logger.ts';
import type { Connectivity } from '../common/wamp/agent-procedures.ts';
import type { Schema } from '../common/wamp/contract.ts';
import type { ReadingType, ReadingValue } from '../common/wamp/readings.ts';
import { checkSchema, type SchemaFault } from '../common/wamp/schema-check.ts';
import schemaDocument from './settings.schema.json' with { type: 'json' };

export interface SystemSourceSettings {
  kind: 'system';
  module: string;
  intervalMs: number;
  mounts: string[];
}

export const waveforms = [
  'sine',
  'square',
  'triangle',
  'random-walk',
  'counter',
  'constant',
  'cycle',
] as const;

export interface SimulatedStreamSettings {
  name: string;
  waveform: (typeof waveforms)[number];
  type: ReadingType;
  unit: string;
  rateHz: number;
  periodMs: number;
  amplitude: number;
  offset: number;
  values?: ReadingValue[];
}

export interface SimulatedSourceSettings {
  kind: 'simulated';
  module: string;
  seed: number;
  streams: SimulatedStreamSettings[];
}

export type SourceSettings = SystemSourceSettings | SimulatedSourceSettings;

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
    return parseSettings(await parseFile(path, readFileSync(path, 'utf8')));
  } catch (error) {
    const faults = error instanceof ConfigError ? error.faults : [messageOf(error)];
    throw new ConfigError(faults.map((fault) => `${path}: ${fault}`));
  }
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
    spool: { ...defaultsOf(schema.properties.spool), ...spool } as AgentSettings['spool'],
    sources: (sources ?? [{ kind: 'system' }]).map(withDefaults),
  };
}

function withDefaults(source: Partial<SourceSettings>): SourceSettings {
  const branch = branches.find((each) => each.properties.kind.const === source.kind) as Branch;
  const full = { ...defaultsOf(branch), ...source } as SourceSettings;
  if (full.kind === 'system') return full;
  const streamSchema = (branch.properties.streams as Schema).items;
  return { ...full, streams: full.streams.map((each) => ({ ...defaultsOf(streamSchema), ...each })) };
}

interface Branch extends Schema {
  properties: { kind: { const: string } } & Record<string, Schema>;
}

const schema = schemaDocument as unknown as { properties: Record<string, Schema> };
const sourcesSchema = schema.properties.sources as { items: { anyOf: Branch[] } };
const branches = sourcesSchema.items.anyOf;

function defaultsOf(part: unknown): JsonObject {
  const properties = (part as { properties: Record<string, Schema> }).properties;
  return Object.fromEntries(
    Object.entries(properties)
      .filter(([, each]) => each.default !== undefined)
      .map(([name, each]) => [name, each.default]),
  );
}

function findFaults(value: unknown): SchemaFault[] {
  // The kinds of sources are checked one by one below: "no form matches" would say nothing.
  const outer = {
    ...schemaDocument,
    properties: { ...schema.properties, sources: { type: 'array', maxItems: 200 } },
  };
  const faults = checkSchema(outer, value);
  const sources = (value as Partial<AgentSettings> | undefined)?.sources;
  if (faults.length > 0 || !Array.isArray(sources)) return faults;
  const modules = new Set<string>();
  for (const [index, source] of (sources as unknown[]).entries()) {
    const pointer = `/sources/${index}`;
    const kind = (source as JsonObject | null)?.kind;
    const branch = branches.find((each) => each.properties.kind.const === kind);
    if (!branch) {
      const kinds = branches.map((each) => each.properties.kind.const).join(', ');
      faults.push({ pointer: `${pointer}/kind`, message: `must be one of ${kinds}` });
      continue;
    }
    const own = [...checkSchema(branch, source, pointer), ...checkPatterns(branch, source, pointer)];
    faults.push(...own);
    if (own.length > 0) continue;
    const full = withDefaults(source as SourceSettings);
    if (modules.has(full.module))
      faults.push({ pointer: `${pointer}/module`, message: `'${full.module}' is taken by another source` });
    modules.add(full.module);
    if (full.kind === 'simulated') faults.push(...checkStreams(full, pointer));
  }
  return faults;
}

/** The checker shared with procedure contracts knows no `pattern`: contracts come from strangers, this schema does not. */
function checkPatterns(part: Schema, value: unknown, pointer: string): SchemaFault[] {
  if (typeof value === 'string' && typeof part.pattern === 'string')
    return new RegExp(part.pattern).test(value) ? [] : [{ pointer, message: `must match ${part.pattern}` }];
  if (Array.isArray(value) && part.items !== undefined)
    return value.flatMap((each, index) => checkPatterns(part.items as Schema, each, `${pointer}/${index}`));
  if (typeof value !== 'object' || value === null) return [];
  const properties = (part.properties ?? {}) as Record<string, Schema>;
  return Object.entries(value).flatMap(([name, each]) =>
    properties[name] ? checkPatterns(properties[name], each, `${pointer}/${name}`) : [],
  );
}

/** What the schema cannot say: values fit their type, and a name is used once. */
function checkStreams(source: SimulatedSourceSettings, pointer: string): SchemaFault[] {
  const faults: SchemaFault[] = [];
  const names = new Set<string>();
  for (const [index, stream] of source.streams.entries()) {
    const at = `${pointer}/streams/${index}`;
    if (names.has(stream.name))
      faults.push({ pointer: `${at}/name`, message: `'${stream.name}' is used twice` });
    names.add(stream.name);
    const wanted = stream.type === 'text' ? 'string' : stream.type;
    const needsValues = stream.waveform === 'cycle' || stream.type === 'text';
    if (needsValues && stream.values === undefined)
      faults.push({ pointer: `${at}/values`, message: 'is required for text and for the waveform cycle' });
    if (stream.values?.some((each) => typeof each !== wanted))
      faults.push({ pointer: `${at}/values`, message: `must hold values of type ${stream.type} only` });
    if (stream.type === 'text' && stream.waveform !== 'cycle' && stream.waveform !== 'constant')
      faults.push({ pointer: `${at}/waveform`, message: 'must be cycle or constant for text' });
  }
  return faults;
}
