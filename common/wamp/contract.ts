/**
 * Procedure contracts: what a board publishes about each procedure. The schemas come from boards,
 * so they are untrusted: only a bounded subset of JSON Schema without regular expressions,
 * references or code generation is accepted. The same subset is checked by the relay (so a bad
 * call never bothers the board) and by the board (so a direct WAMP call is checked as well).
 */
import { createHash } from 'node:crypto';
import { AppError } from '../runtime/app-error.ts';
import {
  asArray,
  asBoolean,
  asObject,
  asOneOf,
  asString,
  type JsonObject,
  optional,
} from '../runtime/guards.ts';
import { checkStorable } from './storable.ts';

export const safetyClasses = ['idempotent', 'journaled', 'at-most-once'] as const;
/** May it simply run again; never twice; or once and then unknown? */
export type SafetyClass = (typeof safetyClasses)[number];

export const crashRules = ['failed', 'unknown'] as const;
export type CrashRule = (typeof crashRules)[number];

export type Schema = JsonObject;

export interface ProcedureContract {
  /** `<name>` or `<module>.<name>`, snake_case words separated by dots. */
  name: string;
  description?: string;
  /** JSON Schema of kwargs (an object schema); left out = no kwargs are taken. */
  kwargs?: Schema;
  result?: Schema;
  safety: SafetyClass;
  /**
   * What a `journaled` procedure counts as when the agent died in the middle of it: `failed`, when
   * half of it does no harm and it may be tried again as a new attempt; else `unknown`, the default.
   */
  onCrash?: CrashRule;
  /** Whether it sends progressive results. */
  progress?: boolean;
}

export const contractLimits = {
  procedures: 200,
  nameLength: 100,
  schemaDepth: 12,
  schemaNodes: 400,
  schemaBytes: 16_384,
  /** Levels of JSON, examples and defaults included; MariaDB stores 32. */
  depth: 30,
} as const;

export const procedureNamePattern = /^[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)*$/;

const types = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;
const annotations = ['title', 'description', 'default', 'examples', 'unit'];
const keywords = [
  ...annotations,
  'type',
  'enum',
  'const',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'anyOf',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'minProperties',
  'maxProperties',
];
const numberKeywords = keywords.slice(keywords.indexOf('minimum'));

/** Checks that a schema keeps to the subset. Throws AppError `invalid-arguments` naming the place. */
export function parseSchema(value: unknown, field: string): Schema {
  const schema = asObject(value, field);
  if (JSON.stringify(schema).length > contractLimits.schemaBytes) {
    throw new AppError('invalid-arguments', `${field} must have at most ${contractLimits.schemaBytes} bytes`);
  }
  let nodes = 0;
  const visit = (node: unknown, place: string, depth: number): void => {
    nodes += 1;
    if (depth > contractLimits.schemaDepth || nodes > contractLimits.schemaNodes) {
      throw new AppError('invalid-arguments', `${place} is too deep or too large`);
    }
    const object = asObject(node, place, keywords);
    for (const type of [object.type ?? []].flat()) asOneOf(type, `${place}.type`, types);
    for (const [name, child] of Object.entries(
      optional(object.properties, (v) => asObject(v, `${place}.properties`)) ?? {},
    )) {
      visit(child, `${place}.properties.${name}`, depth + 1);
    }
    if (object.items !== undefined) visit(object.items, `${place}.items`, depth + 1);
    if (typeof object.additionalProperties === 'object')
      visit(object.additionalProperties, `${place}.additionalProperties`, depth + 1);
    else optional(object.additionalProperties, (v) => asBoolean(v, `${place}.additionalProperties`));
    for (const [index, child] of (
      optional(object.anyOf, (v) => asArray(v, `${place}.anyOf`, { min: 1, max: 20 })) ?? []
    ).entries()) {
      visit(child, `${place}.anyOf[${index}]`, depth + 1);
    }
    for (const name of optional(object.required, (v) => asArray(v, `${place}.required`, { max: 200 })) ??
      []) {
      asString(name, `${place}.required`, { max: 200 });
    }
    optional(object.enum, (v) => asArray(v, `${place}.enum`, { min: 1, max: 200 }));
    for (const keyword of numberKeywords) {
      const limit = object[keyword];
      if (
        limit !== undefined &&
        (typeof limit !== 'number' || !Number.isFinite(limit) || (keyword === 'multipleOf' && limit <= 0))
      ) {
        throw new AppError('invalid-arguments', `${place}.${keyword} must be a number`);
      }
    }
  };
  visit(schema, field, 0);
  return schema;
}

export function parseContract(value: unknown, field: string): ProcedureContract {
  const input = asObject(value, field, [
    'name',
    'description',
    'kwargs',
    'result',
    'safety',
    'onCrash',
    'progress',
  ]);
  checkStorable(input, field, contractLimits.depth);
  const description = optional(input.description, (v) =>
    asString(v, `${field}.description`, { max: 1000, multiline: true }),
  );
  const kwargs = optional(input.kwargs, (v) => parseSchema(v, `${field}.kwargs`));
  const result = optional(input.result, (v) => parseSchema(v, `${field}.result`));
  const progress = optional(input.progress, (v) => asBoolean(v, `${field}.progress`));
  const onCrash = optional(input.onCrash, (v) => asOneOf(v, `${field}.onCrash`, crashRules));
  return {
    name: asString(input.name, `${field}.name`, {
      max: contractLimits.nameLength,
      pattern: procedureNamePattern,
    }),
    ...(description !== undefined && { description }),
    ...(kwargs && { kwargs }),
    ...(result && { result }),
    safety: optional(input.safety, (v) => asOneOf(v, `${field}.safety`, safetyClasses)) ?? 'at-most-once',
    ...(onCrash && { onCrash }),
    ...(progress !== undefined && { progress }),
  };
}

export function parseContracts(value: unknown, field: string): ProcedureContract[] {
  const contracts = asArray(value, field, { max: contractLimits.procedures }).map((each, index) =>
    parseContract(each, `${field}[${index}]`),
  );
  const names = new Set(contracts.map((each) => each.name));
  if (names.size < contracts.length)
    throw new AppError('invalid-arguments', `${field} must not name a procedure twice`);
  return contracts;
}

/** Identity of a set of contracts: relays cache by it. */
export function hashContracts(contracts: readonly ProcedureContract[]): string {
  const sorted = [...contracts].sort((left, right) => (left.name < right.name ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 32);
}
