/** What settings need beside the checker that they share with procedure contracts. */
import type { JsonObject } from '../common/runtime/guards.ts';
import type { Schema } from '../common/wamp/contract.ts';
import type { SchemaFault } from '../common/wamp/schema-check.ts';

/** A copy with the defaults of the schema, down to the members of lists. */
export function withDefaults(part: Schema, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => withDefaults((part.items ?? {}) as Schema, each));
  if (typeof value !== 'object' || value === null) return value;
  const full: JsonObject = { ...value };
  for (const [name, each] of Object.entries((part.properties ?? {}) as Record<string, Schema>)) {
    if (full[name] !== undefined) full[name] = withDefaults(each, full[name]);
    else if (each.default !== undefined) full[name] = each.default;
  }
  return full;
}

/** The checker shared with procedure contracts knows no `pattern`: contracts come from strangers, this schema does not. */
export function checkPatterns(part: Schema, value: unknown, pointer: string): SchemaFault[] {
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
