/**
 * A kind of source: what its settings look like, and how one is made of them. Each kind is a folder
 * here with a `kind.ts` that exports `sourceKind`; nothing else has to know of it. Libraries that
 * only this kind needs are imported when a source starts: an agent carries what it uses.
 */
import type { Schema } from '../../common/wamp/contract.ts';
import type { SchemaFault } from '../../common/wamp/schema-check.ts';
import type { RuleSettings } from '../intake/types.ts';
import type { Source, SourceContext } from './source.ts';

/** Settings of one source, checked by its kind. */
export interface SourceSettings {
  kind: string;
  /** Of sources that hear many modules: what it is called in counts and dead letters. */
  name?: string;
  /** Of sources that are one module. */
  module?: string;
  /** Of sources that hear messages. */
  rules?: RuleSettings[];
}

export interface SourceKindSchema extends Schema {
  properties: { kind: { const: string } } & Record<string, Schema>;
}

export interface SourceKind {
  schema: SourceKindSchema;
  /** What the schema cannot say; settings have their defaults and fit the schema. */
  check(settings: SourceSettings, pointer: string): SchemaFault[];
  create(settings: SourceSettings, context: SourceContext): Source;
}

export interface SourceKindDefinition<S extends SourceSettings> {
  schema: SourceKindSchema;
  check?: (settings: S, pointer: string) => SchemaFault[];
  create: (settings: S, context: SourceContext) => Source;
}

/** The one place where settings that have passed a kind's schema become its type. */
export function defineSourceKind<S extends SourceSettings>(definition: SourceKindDefinition<S>): SourceKind {
  const { schema, check, create } = definition;
  return {
    schema,
    check: (settings, pointer) => check?.(settings as S, pointer) ?? [],
    create: (settings, context) => create(settings as S, context),
  };
}
