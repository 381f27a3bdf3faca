/** What an alarm rule says: on which streams of which boards, when it is bad, and what is done then. */
import type { JsonObject } from '../runtime/guards.ts';
import type { ReadingValue } from '../wamp/readings.ts';

export const severities = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof severities)[number];

export type RateDirection = 'rising' | 'falling' | 'either';

export type AlarmCondition =
  | { kind: 'above'; threshold: number }
  | { kind: 'below'; threshold: number }
  | { kind: 'outside'; low: number; high: number }
  /** Change per second between a reading and the one before. */
  | { kind: 'rate'; perSecond: number; direction: RateDirection }
  | { kind: 'equals'; value: ReadingValue }
  /** No reading that is younger than the rule's duration. */
  | { kind: 'noData' }
  | { kind: 'boardOffline' };

export const conditionKinds = [
  'above',
  'below',
  'outside',
  'rate',
  'equals',
  'noData',
  'boardOffline',
] as const satisfies readonly AlarmCondition['kind'][];

/** At most one of the three; none = every board of the tenant. */
export interface AlarmTarget {
  /** uuids */
  boards?: string[];
  /** Id */
  fleet?: string;
  selector?: string;
}

/** The operation that a raised or cleared alarm starts. */
export interface AlarmAction {
  procedure: string;
  kwargs: JsonObject;
  /** `same` = the board of the alarm, or a uuid. */
  board: 'same' | (string & {});
  on: 'raise' | 'clear';
  delivery: 'now' | 'when-online';
  deadlineSeconds: number;
  attempts: number;
}

export interface AlarmRule {
  id: string;
  tenantId: string;
  name: string;
  severity: Severity;
  enabled: boolean;
  target: AlarmTarget;
  /** Pattern of stream names; null for `boardOffline`. */
  stream: string | null;
  condition: AlarmCondition;
  /** The condition must hold for so long before the alarm is raised. */
  forSeconds: number;
  /** How far back over the threshold a value must be to count as good. */
  hysteresis: number;
  /** It must be good for so long before the alarm is cleared. */
  clearForSeconds: number;
  action: AlarmAction | null;
  /** Rises with each change that begins the watch anew. */
  revision: number;
}

export const alarmLimits = {
  rulesPerTenant: 200,
  durationSeconds: 86_400,
  patternLength: 150,
  commentLength: 500,
} as const;

/** The parts of a rule that say when it is bad. */
export type Criterion = Pick<AlarmRule, 'condition' | 'forSeconds' | 'hysteresis' | 'clearForSeconds'>;
