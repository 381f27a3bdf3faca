/** The rules of a source: which decoder a message goes to, by its topic or path. */
import { AppError } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import { asObject } from '../../common/runtime/guards.ts';
import type { Decoder, RuleSettings } from './types.ts';

export interface CompiledRule {
  rule: RuleSettings;
  captures: Readonly<Record<string, string>>;
  decode: Decoder;
}

const decoders: Record<string, Decoder> = { json: decodeJson };

/** Throws ConfigError naming the rule. */
export function compileRules(rules: readonly RuleSettings[]): (path: string) => CompiledRule | undefined {
  const compiled = rules.map((rule) => {
    const decode = decoders[rule.decoder];
    if (!decode) throw new ConfigError([`rule '${rule.match}': there is no decoder '${rule.decoder}'`]);
    return { rule, decode, pattern: toPattern(rule.match) };
  });
  return (path) => {
    for (const { rule, decode, pattern } of compiled) {
      const match = pattern.exec(path);
      if (match) return { rule, decode, captures: match.groups ?? {} };
    }
    return undefined;
  };
}

function toPattern(match: string): RegExp {
  const parts = match.split(/(\{[a-z]+\}|#$)/i).map((part) => {
    if (part === '#') return '.*';
    if (part.startsWith('{')) return `(?<${part.slice(1, -1)}>[^/]+)`;
    return part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`, 's');
}

function decodeJson({ payload }: Parameters<Decoder>[0]): ReturnType<Decoder> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch (error) {
    throw new AppError('invalid-arguments', 'it is not JSON', { cause: error });
  }
  const input = asObject(parsed, 'payload');
  const data = asObject(input.data ?? {}, 'data');
  return {
    ...(typeof input.device === 'string' && { device: input.device }),
    ...(typeof input.seq === 'number' && { seq: input.seq }),
    ...(typeof input.mac === 'string' && { mac: input.mac }),
    readings: Object.entries(data).map(([measurement, value]) => ({ measurement, value: value as number })),
  };
}
