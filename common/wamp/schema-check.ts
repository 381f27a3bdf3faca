/** Checks a value against a schema of the subset in contract.ts; pure and without recursion limits of its own (schemas are bounded). */
import { isDeepStrictEqual } from 'node:util';
import type { JsonObject } from '../runtime/guards.ts';
import type { Schema } from './contract.ts';

export interface SchemaFault {
  /** JSON pointer from the checked value's root. */
  pointer: string;
  message: string;
}

const maxFaults = 20;

/** Faults of `value`, at most 20; empty when it fits. */
export function checkSchema(schema: Schema, value: unknown, pointer = ''): SchemaFault[] {
  const faults: SchemaFault[] = [];
  visit(schema, value, pointer, faults);
  return faults.slice(0, maxFaults);
}

function visit(schema: Schema, value: unknown, pointer: string, faults: SchemaFault[]): void {
  if (faults.length >= maxFaults) return;
  const add = (message: string) => void faults.push({ pointer, message });
  const types = [schema.type ?? []].flat() as string[];
  if (types.length > 0 && !types.some((type) => isOfType(value, type))) {
    add(`must be ${types.join(' or ')}`);
    return;
  }
  if (Array.isArray(schema.enum) && !schema.enum.some((each) => isDeepStrictEqual(each, value))) {
    add(`must be one of ${JSON.stringify(schema.enum)}`);
  }
  if (Object.hasOwn(schema, 'const') && !isDeepStrictEqual(schema.const, value))
    add(`must be ${JSON.stringify(schema.const)}`);
  if (
    Array.isArray(schema.anyOf) &&
    !schema.anyOf.some((each) => checkSchema(each as Schema, value, pointer).length === 0)
  ) {
    add('must match one of the allowed forms');
  }
  if (typeof value === 'number') checkNumber(schema, value, add);
  if (typeof value === 'string')
    checkLength(schema, [...value].length, ['minLength', 'maxLength'], 'characters', add);
  if (Array.isArray(value)) {
    checkLength(schema, value.length, ['minItems', 'maxItems'], 'items', add);
    if (schema.items !== undefined) {
      for (const [index, item] of value.entries())
        visit(schema.items as Schema, item, `${pointer}/${index}`, faults);
    }
  } else if (typeof value === 'object' && value !== null) {
    visitObject(schema, value as JsonObject, pointer, faults, add);
  }
}

function visitObject(
  schema: Schema,
  value: JsonObject,
  pointer: string,
  faults: SchemaFault[],
  add: (message: string) => void,
): void {
  const properties = (schema.properties ?? {}) as Record<string, Schema>;
  checkLength(schema, Object.keys(value).length, ['minProperties', 'maxProperties'], 'properties', add);
  for (const name of (schema.required ?? []) as string[]) {
    if (!Object.hasOwn(value, name))
      faults.push({ pointer: `${pointer}/${escapePointer(name)}`, message: 'is required' });
  }
  for (const [name, member] of Object.entries(value)) {
    const at = `${pointer}/${escapePointer(name)}`;
    const own = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (own) visit(own, member, at, faults);
    else if (schema.additionalProperties === false)
      faults.push({ pointer: at, message: 'is not a known field' });
    else if (typeof schema.additionalProperties === 'object')
      visit(schema.additionalProperties as Schema, member, at, faults);
  }
}

function checkNumber(schema: Schema, value: number, add: (message: string) => void): void {
  if (typeof schema.minimum === 'number' && value < schema.minimum) add(`must be at least ${schema.minimum}`);
  if (typeof schema.maximum === 'number' && value > schema.maximum) add(`must be at most ${schema.maximum}`);
  if (typeof schema.exclusiveMinimum === 'number' && value <= schema.exclusiveMinimum)
    add(`must be above ${schema.exclusiveMinimum}`);
  if (typeof schema.exclusiveMaximum === 'number' && value >= schema.exclusiveMaximum)
    add(`must be below ${schema.exclusiveMaximum}`);
  if (typeof schema.multipleOf === 'number') {
    const quotient = value / schema.multipleOf;
    // Floating point: 0.3 is a multiple of 0.1, though 0.3 / 0.1 is not a whole number.
    if (Math.abs(quotient - Math.round(quotient)) > 1e-9) add(`must be a multiple of ${schema.multipleOf}`);
  }
}

function checkLength(
  schema: Schema,
  length: number,
  [min, max]: [string, string],
  what: string,
  add: (message: string) => void,
): void {
  const least = schema[min];
  const most = schema[max];
  if (typeof least === 'number' && length < least) add(`must have at least ${least} ${what}`);
  if (typeof most === 'number' && length > most) add(`must have at most ${most} ${what}`);
}

function isOfType(value: unknown, type: string): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'number') return typeof value === 'number' && Number.isFinite(value);
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value);
  return typeof value === type;
}

function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
