/** The body of an alarm rule, checked for what a schema cannot say; and back to its form in answers. Pure. */
import {
  type AlarmAction,
  type AlarmCondition,
  type AlarmRule,
  conditionKinds,
} from '../../common/alarms/rules.ts';
import { checkStreamPattern } from '../../common/alarms/stream-pattern.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import type { Schemas } from '../http/operation.ts';
import { atPointer, fault, kwargsBytes } from '../operations/operation-request.ts';

/** What a client decides on. */
export type RuleValues = Omit<AlarmRule, 'id' | 'tenantId' | 'revision'>;

/** Of a creation, or a change laid over what is there. */
export type RuleInput = Omit<Schemas['AlarmRuleUpdate'], 'version' | 'name' | 'condition'> & {
  name: string;
  condition: Schemas['AlarmCondition'];
};

/** Throws AppError `invalid-request` with the place of the fault. Names in target and action are still names. */
export function parseRule(input: RuleInput): RuleValues {
  const condition = parseCondition(input.condition);
  const values: RuleValues = {
    name: input.name,
    severity: input.severity ?? 'warning',
    enabled: input.enabled ?? true,
    target: input.target ?? {},
    stream: parseStream(input.stream ?? null, condition),
    condition,
    forSeconds: input.forSeconds ?? 0,
    hysteresis: finite(input.hysteresis ?? 0, '/hysteresis'),
    clearForSeconds: input.clearForSeconds ?? 0,
    action: input.action ? parseAction(input.action) : null,
  };
  checkTogether(values);
  return values;
}

function finite(value: number, pointer: string): number {
  if (!Number.isFinite(value)) throw fault(pointer, 'must be a finite number');
  return value;
}

function parseCondition(input: Schemas['AlarmCondition']): AlarmCondition {
  const kinds = conditionKinds.filter((each) => input[each] !== undefined);
  if (kinds.length !== 1) throw fault('/condition', `must be exactly one of ${conditionKinds.join(', ')}`);
  const { above, below, outside, rate, equals } = input;
  if (above) return { kind: 'above', threshold: finite(above.threshold, '/condition/above/threshold') };
  if (below) return { kind: 'below', threshold: finite(below.threshold, '/condition/below/threshold') };
  if (outside) {
    const low = finite(outside.low, '/condition/outside/low');
    const high = finite(outside.high, '/condition/outside/high');
    if (low > high) throw fault('/condition/outside/low', 'must not be above high');
    return { kind: 'outside', low, high };
  }
  if (rate)
    return {
      kind: 'rate',
      perSecond: finite(rate.perSecond, '/condition/rate/perSecond'),
      direction: rate.direction ?? 'either',
    };
  if (equals) {
    const { value } = equals;
    if (typeof value === 'string' && !value.isWellFormed())
      throw fault('/condition/equals/value', 'must be well-formed Unicode');
    return {
      kind: 'equals',
      value: typeof value === 'number' ? finite(value, '/condition/equals/value') : value,
    };
  }
  return { kind: input.noData ? 'noData' : 'boardOffline' };
}

function parseStream(stream: string | null, { kind }: AlarmCondition): string | null {
  if (kind === 'boardOffline') {
    if (stream !== null) throw fault('/stream', 'does not go with boardOffline');
    return null;
  }
  if (stream === null) throw fault('/stream', `is required for ${kind}`);
  return atPointer(() => checkStreamPattern(stream));
}

function checkTogether({ condition, forSeconds, hysteresis, clearForSeconds }: RuleValues): void {
  const { kind } = condition;
  const hasThreshold = kind !== 'equals' && kind !== 'noData' && kind !== 'boardOffline';
  if (hysteresis !== 0 && !hasThreshold) throw fault('/hysteresis', `does not go with ${kind}`);
  if (condition.kind === 'outside' && condition.high - condition.low < 2 * hysteresis)
    throw fault('/hysteresis', 'must leave something between low and high: at most half of the distance');
  if (condition.kind === 'rate' && hysteresis > condition.perSecond)
    throw fault('/hysteresis', 'must be at most perSecond');
  if (kind === 'noData' && forSeconds < 1) throw fault('/forSeconds', 'must be at least 1 for noData');
  if (kind === 'noData' && clearForSeconds !== 0) throw fault('/clearForSeconds', 'does not go with noData');
}

function parseAction(input: Schemas['AlarmAction']): AlarmAction {
  const { procedure, kwargs = {}, board = 'same' } = input;
  if (Buffer.byteLength(JSON.stringify(kwargs)) > kwargsBytes)
    throw fault('/action/kwargs', `must have at most ${kwargsBytes} bytes`);
  return {
    procedure,
    kwargs,
    board,
    on: input.on ?? 'raise',
    delivery: input.delivery ?? 'when-online',
    deadlineSeconds: input.deadlineSeconds ?? 300,
    attempts: input.attempts ?? 1,
  };
}

/** A stored rule as a body, for a change to be laid over. */
export function toInput(row: AlarmRuleRow): RuleInput {
  const { name, severity, enabled, target, stream, forSeconds, hysteresis, clearForSeconds, action } = row;
  const condition = fromCondition(row.condition);
  return {
    name,
    severity,
    enabled,
    target: Object.keys(target).length === 0 ? null : target,
    stream,
    condition,
    forSeconds,
    hysteresis,
    clearForSeconds,
    action,
  };
}

function fromCondition({ kind, ...members }: AlarmCondition): Schemas['AlarmCondition'] {
  return { [kind]: members };
}

/** Whether the watch has to begin anew. */
export function changesWatch(before: RuleValues, after: RuleValues): boolean {
  const watched = ({ target, stream, condition, forSeconds, hysteresis, clearForSeconds }: RuleValues) =>
    JSON.stringify([
      target.boards ?? null,
      target.fleet ?? null,
      target.selector ?? null,
      stream,
      Object.entries(condition).sort(),
      forSeconds,
      hysteresis,
      clearForSeconds,
    ]);
  return watched(before) !== watched(after);
}

export function toAlarmRule(row: AlarmRuleRow): Schemas['AlarmRule'] {
  const { id, tenantId, createdBy, author, version, createdAt, updatedAt } = row;
  const { target = null, stream = null, action = null, ...input } = toInput(row);
  return {
    id,
    tenant: tenantId,
    ...(input as Required<typeof input>),
    target,
    stream,
    action,
    createdBy,
    author,
    version,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}
