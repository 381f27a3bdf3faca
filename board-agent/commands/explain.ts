/**
 * `boardwalk-agent explain`: what the rules of the settings would make of a message. Nothing is
 * sent or stored, and no agent has to run: it is the same code that the agent has.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import type { ReadingType, ReadingValue } from '../../common/wamp/readings.ts';
import { createPrepare, messageLimits } from '../intake/prepare.ts';
import { type CompiledRule, compileRules } from '../intake/rules.ts';
import type { RawMessage, RuleSettings } from '../intake/types.ts';
import { loadSettings } from '../settings.ts';
import type { SourceSettings } from '../sources/source-kind.ts';

export interface ExplainOptions {
  stateDir: string;
  settingsPath?: string;
  /** Only this source; default: the first that has a rule which fits. */
  source?: string;
  message: RawMessage;
  /** Epoch milliseconds. */
  receivedAt: number;
}

export interface Explanation {
  source: string;
  kind: string;
  rule?: { index: number; match: string; decoder: string };
  captures?: Readonly<Record<string, string>>;
  device?: string;
  seq?: number;
  signed?: true;
  readings?: { stream: string; type: ReadingType; value: ReadingValue; unit: string; at: string }[];
  /** Why there are no readings. */
  fault?: { reason: string; detail: string };
  /** Other sources whose rules fit as well. */
  alsoFits?: string[];
}

interface Hearing extends SourceSettings {
  name: string;
  rules: RuleSettings[];
}

/** Rejects with ConfigError for bad settings, with AppError when no source hears messages. */
export async function explain(options: ExplainOptions): Promise<Explanation> {
  const { message, receivedAt } = options;
  const sources = await findSources(options);
  const fitting = sources.flatMap((source) => {
    const rules = compileRules(source.rules);
    const found = rules(message.path);
    return found ? [{ source, rules, found }] : [];
  });
  const [first, ...others] = fitting;
  if (!first) {
    const patterns = sources.flatMap((each) => each.rules.map((rule) => rule.match)).join('  ');
    return {
      source: sources.map((each) => each.name).join(', '),
      kind: sources.map((each) => each.kind).join(', '),
      fault: { reason: 'unmatched', detail: `no rule fits '${message.path}'; there are: ${patterns}` },
    };
  }
  const { source, rules, found } = first;
  const prepared = createPrepare(rules)(message, receivedAt);
  return {
    source: source.name,
    kind: source.kind,
    rule: {
      index: indexOf(found, source.rules),
      match: found.rule.match,
      decoder: found.rule.decoder,
    },
    captures: found.captures,
    ...describe(prepared),
    ...(others.length > 0 && { alsoFits: others.map((each) => each.source.name) }),
  };
}

async function findSources({ stateDir, settingsPath, source, message }: ExplainOptions): Promise<Hearing[]> {
  if (message.payload.length > messageLimits.payloadBytes)
    throw new AppError('payload-too-large', `a message has at most ${messageLimits.payloadBytes} bytes`);
  const { sources } = await loadSettings(stateDir, settingsPath);
  const hearing = sources.flatMap((each) =>
    each.rules ? [{ ...each, name: each.name ?? each.kind, rules: each.rules }] : [],
  );
  if (hearing.length === 0) throw new AppError('not-found', 'no source of the settings has rules');
  if (source === undefined) return hearing;
  const named = hearing.filter((each) => each.name === source);
  if (named.length > 0) return named;
  const names = hearing.map((each) => each.name).join(', ');
  throw new AppError('not-found', `no source with rules is called '${source}'; there are: ${names}`);
}

/** The compiled rule is a copy: it has the defaults of its options. */
function indexOf({ rule }: CompiledRule, rules: readonly RuleSettings[]): number {
  return rules.findIndex((each) => each.match === rule.match);
}

function describe(prepared: ReturnType<ReturnType<typeof createPrepare>>): Partial<Explanation> {
  if ('dead' in prepared) return { fault: { reason: prepared.dead, detail: prepared.detail } };
  const { device, seq, mac, readings } = prepared;
  return {
    device,
    ...(seq !== undefined && { seq }),
    ...(mac !== undefined && { signed: true as const }),
    readings: readings.map(({ stream, value, at }) => ({
      stream: stream.name,
      type: stream.type,
      value,
      unit: stream.unit,
      at: new Date(at).toISOString(),
    })),
  };
}

export function formatExplanation(explanation: Explanation): string {
  const { source, kind, rule, captures = {}, device, seq, signed, readings, fault, alsoFits } = explanation;
  const line = (label: string, text: string) => `${label.padEnd(13)}${text}`;
  const named = Object.entries(captures).map(([name, value]) => `${name}=${value}`);
  return [
    line('source', `${source} (${kind})`),
    ...(rule ? [line('rule', `${rule.index}: ${rule.match} → ${rule.decoder}`)] : []),
    ...(named.length > 0 ? [line('captures', named.join('  '))] : []),
    ...(device === undefined ? [] : [line('device', device)]),
    ...(seq === undefined ? [] : [line('seq', String(seq))]),
    ...(signed ? [line('mac', 'present; whether it is right is not checked here')] : []),
    ...(readings ? [line('readings', String(readings.length)), ...formatReadings(readings)] : []),
    ...(fault ? [line(fault.reason, fault.detail)] : []),
    ...(alsoFits ? [line('note', `rules of ${alsoFits.join(', ')} fit as well: choose with --source`)] : []),
  ].join('\n');
}

function formatReadings(readings: NonNullable<Explanation['readings']>): string[] {
  const rows = readings.map(({ stream, type, value, unit, at }) => [
    stream,
    type === 'text' ? JSON.stringify(value) : String(value),
    unit,
    type,
    at,
  ]);
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  );
}
