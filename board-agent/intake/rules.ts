/** The rules of a source: which decoder a message goes to, by its topic or path. Compiled once, at the start. */
import { messageOf } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { checkSchema, type SchemaFault } from '../../common/wamp/schema-check.ts';
import { checkPatterns, withDefaults } from '../schema-defaults.ts';
import type { DecoderKind } from './decoders/decoder-kind.ts';
import { decoderKinds, findDecoderKind } from './decoders/decoders.ts';
import { filePrefix, loadFileDecoder, type SlowDecoder } from './decoders/file.ts';
import { compilePattern, type Pattern } from './pattern.ts';
import type { Decoder, RuleSettings } from './types.ts';

export interface CompiledRule {
  /** With the defaults of the decoder's options. */
  rule: RuleSettings;
  captures: Readonly<Record<string, string>>;
  decode: Decoder;
}

/** The first rule that fits the path. */
export type FindRule = (path: string) => CompiledRule | undefined;

interface Compiled {
  rule: RuleSettings;
  pattern: Pattern;
  decode: Decoder;
}

/**
 * Throws ConfigError with every fault; pointers begin at the source. Loads the decoders that are
 * files; `onSlow` hears of messages that one of them takes long for.
 */
export function compileRules(rules: readonly RuleSettings[], onSlow?: (slow: SlowDecoder) => void): FindRule {
  const faults: SchemaFault[] = [];
  const compiled = rules.map((rule, index) => compileRule(rule, `/rules/${index}`, faults, onSlow));
  if (faults.length > 0) throw new ConfigError(faults.map(({ pointer, message }) => `${pointer} ${message}`));
  return (path) => {
    for (const each of compiled) {
      const captures = each?.pattern.match(path);
      if (each && captures) return { rule: each.rule, decode: each.decode, captures };
    }
    return undefined;
  };
}

/** What a schema cannot say about rules. */
export function checkRules(rules: readonly RuleSettings[], pointer: string): SchemaFault[] {
  const faults: SchemaFault[] = [];
  for (const [index, rule] of rules.entries()) {
    const at = `${pointer}/rules/${index}`;
    findPattern(rule, at, faults);
    // Files are looked at when the source is made: settings are checked elsewhere, too.
    const kind = rule.decoder.startsWith(filePrefix) ? undefined : findKind(rule, at, faults);
    if (kind) checkOptions(kind, rule, at, faults);
  }
  return faults;
}

function compileRule(
  rule: RuleSettings,
  pointer: string,
  faults: SchemaFault[],
  onSlow?: (slow: SlowDecoder) => void,
): Compiled | undefined {
  const pattern = findPattern(rule, pointer, faults);
  const kind = rule.decoder.startsWith(filePrefix)
    ? findFile(rule, pointer, faults, onSlow)
    : findKind(rule, pointer, faults);
  if (!pattern || !kind || !checkOptions(kind, rule, pointer, faults)) return undefined;
  const options = withDefaults(kind.options, rule.options ?? {}) as JsonObject;
  return { rule: { ...rule, options }, pattern, decode: kind.decode };
}

function findPattern(rule: RuleSettings, pointer: string, faults: SchemaFault[]): Pattern | undefined {
  const pattern = compilePattern(rule.match);
  if (!('fault' in pattern)) return pattern;
  faults.push({ pointer: `${pointer}/match`, message: pattern.fault });
  return undefined;
}

function findKind(
  { decoder }: RuleSettings,
  pointer: string,
  faults: SchemaFault[],
): DecoderKind | undefined {
  const kind = findDecoderKind(decoder);
  if (kind) return kind;
  const names = decoderKinds.map((each) => each.name).join(', ');
  faults.push({
    pointer: `${pointer}/decoder`,
    message: `must be one of ${names} or file:<path>; not '${decoder}'`,
  });
  return undefined;
}

function findFile(
  { decoder }: RuleSettings,
  pointer: string,
  faults: SchemaFault[],
  onSlow?: (slow: SlowDecoder) => void,
): DecoderKind | undefined {
  try {
    return loadFileDecoder(decoder, onSlow);
  } catch (error) {
    faults.push({ pointer: `${pointer}/decoder`, message: messageOf(error) });
    return undefined;
  }
}

/** Whether they are well. */
function checkOptions(
  kind: DecoderKind,
  { options = {} }: RuleSettings,
  pointer: string,
  faults: SchemaFault[],
): boolean {
  const at = `${pointer}/options`;
  const own = [...checkSchema(kind.options, options, at), ...checkPatterns(kind.options, options, at)];
  faults.push(...own);
  return own.length === 0;
}
