/** Which modules belong on one dashboard: those of one `kind`, else those that measure the same. Pure. */
import { createHash } from 'node:crypto';

export interface Measurement {
  /** Without the module: `temp` of `n1/temp`. */
  name: string;
  type: 'number' | 'boolean' | 'text';
  /** UCUM; empty = none. */
  unit: string;
}

export interface SeenModule {
  name: string;
  /** As somebody said over the API. */
  kind: string | null;
  measurements: Measurement[];
}

export interface ModuleKind {
  /** Of letters, digits and dashes; unique within the tenant. */
  slug: string;
  title: string;
  /** null: modules without a kind that have exactly these measurements. */
  kind: string | null;
  measurements: Measurement[];
  /** Names, each once, sorted. */
  modules: string[];
}

/** The same modules in any order give the same kinds. Modules without streams are on none. */
export function groupByKind(modules: readonly SeenModule[]): ModuleKind[] {
  const groups = new Map<string, SeenModule[]>();
  for (const each of modules) {
    if (each.measurements.length === 0) continue;
    const key = each.kind === null ? `measures ${signatureOf(each)}` : `kind ${each.kind}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  const kinds = [...groups].map(([key, members]) => toKind(key, members));
  return withUniqueSlugs(kinds).sort((left, right) => compare(left.slug, right.slug));
}

function toKind(key: string, members: readonly SeenModule[]): ModuleKind & { key: string } {
  const modules = [...new Set(members.map((each) => each.name))].sort(compare);
  const byName = new Map(members.flatMap((each) => each.measurements).map((each) => [keyOf(each), each]));
  const measurements = [...byName.values()].sort((left, right) => compare(keyOf(left), keyOf(right)));
  const kind = members[0]?.kind ?? null;
  const title = kind ?? commonName(modules) ?? measurements.map((each) => each.name).join(', ');
  return { key, slug: toSlug(title), title: title.slice(0, 100), kind, measurements, modules };
}

const keyOf = ({ name, type, unit }: Measurement) => `${name} ${type} ${unit}`;
const signatureOf = ({ measurements }: SeenModule) => measurements.map(keyOf).sort(compare).join('|');

/** By code unit: sorting must not depend on a machine's language. */
function compare(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** `sensor` for sensor_1 and sensor_2; undefined when they have less than two characters in common. */
function commonName(modules: readonly string[]): string | undefined {
  const [first = ''] = modules;
  const last = modules.at(-1) ?? '';
  if (first === last) return first;
  let length = 0;
  while (length < first.length && first[length] === last[length]) length += 1;
  const common = first.slice(0, length).replace(/[^A-Za-z]+$/, '');
  return common.length < 2 ? undefined : common;
}

function toSlug(title: string): string {
  const slug = title
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replaceAll(/^-+|-+$/g, '');
  return slug === '' ? 'modules' : slug;
}

/** Kinds whose titles look alike are told apart by what makes them kinds. */
function withUniqueSlugs(kinds: readonly (ModuleKind & { key: string })[]): ModuleKind[] {
  return kinds.map(({ key, ...kind }) => {
    const isShared = kinds.some((other) => other.key !== key && other.slug === kind.slug);
    return isShared ? { ...kind, slug: `${kind.slug}-${shortHash(key, 6)}` } : kind;
  });
}

export function shortHash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}
