/**
 * What a board says about the devices behind it and the sources that hear them, and what the server
 * answers: who is let in. The counts are totals since the board's spool file began; they only grow,
 * until the file is replaced.
 */
import { AppError } from '../runtime/app-error.ts';
import { asArray, asInteger, asNumber, asObject, asOneOf, asString, optional } from '../runtime/guards.ts';
import { latestAt } from './readings.ts';

/** accepted: its readings flow. quarantined: kept on the board until somebody decides. rejected: refused. */
export const moduleStates = ['accepted', 'quarantined', 'rejected'] as const;
export type ModuleState = (typeof moduleStates)[number];

/** What becomes of a device that nobody has heard of. */
export const unknownDevicePolicies = ['create', 'quarantine', 'reject'] as const;
export type UnknownDevicePolicy = (typeof unknownDevicePolicies)[number];

/** Messages of one device. received = accepted new ones; the others are beside it. */
export interface SequenceCounts {
  received: number;
  duplicate: number;
  /** Sequence numbers that were jumped over and have not come since. */
  missed: number;
  /** Came after a higher number, once. */
  late: number;
  /** The device began to count anew. */
  restarted: number;
  badMac: number;
  /** Too many at a time, or not let in. */
  refused: number;
}

export interface ModuleReport extends SequenceCounts {
  name: string;
  /** Name of the source that hears it. */
  source: string;
  /** As the board treats it now. */
  state: ModuleState;
  firstSeenAt: number;
  lastSeenAt: number;
  /** Highest sequence number; null for devices without. */
  lastSeq: number | null;
}

/** What became of what came in at a hop: received = stored + duplicate + rejected + waiting. */
export interface FlowCounts {
  received: number;
  stored: number;
  duplicate: number;
  rejected: number;
  waiting: number;
}

/** Messages of one source. rejected: dead letters and refusals; waiting: held for a device in quarantine. */
export interface SourceReport extends FlowCounts {
  name: string;
  kind: string;
  /** Why it does not hear anything at the moment. */
  fault?: string;
}

export interface ModulesRequest {
  /** Those that changed since the last report; all of them after a hello, in several calls. */
  modules: ModuleReport[];
  sources: SourceReport[];
  /** Of the decisions that the board holds; left out when it holds none. */
  version?: string;
}

export interface ModulesAnswer {
  unknownDevices: UnknownDevicePolicy;
  /** Devices that may be created per minute; more are quarantined. */
  createPerMinute: number;
  version: string;
  /**
   * Every decision for this board; left out when the board holds this version. Whatever is not in it
   * is unknown: the policy decides. What finds no room at the server is in it as `rejected`, and is taken
   * in later when it is still reported and there is room.
   */
  decisions?: { name: string; state: ModuleState }[];
}

export const moduleLimits = {
  perReport: 200,
  /** Discovered and created ones; what the board declares is beside it. */
  perBoard: 1000,
  /** Of them, strangers: in quarantine, and nobody has decided about them. */
  strangers: 100,
  sources: 200,
  /** perBoard, what a hello may declare (agentLimits.modules), and what a report named in vain. */
  decisions: 1400,
} as const;

/**
 * A stranger that was heard so long before a newcomer gives its place to it, where there is no other:
 * an invented id is heard once, a device again and again. Board and server go by the same rule.
 */
export const strangerQuietMs = 600_000;

export const devicesPerMinuteMax = 10_000;

export const moduleNamePattern = /^[A-Za-z0-9_][A-Za-z0-9_.:-]*$/;
export const moduleNameLength = 60;

const count = (value: unknown, field: string) =>
  asInteger(value, field, { min: 0, max: Number.MAX_SAFE_INTEGER });
const at = (value: unknown, field: string) => asNumber(value, field, { min: 0, max: latestAt });
const asName = (value: unknown, field: string) =>
  asString(value, field, { max: moduleNameLength, pattern: moduleNamePattern });

const sequenceNames = [
  'received',
  'duplicate',
  'missed',
  'late',
  'restarted',
  'badMac',
  'refused',
] as const satisfies readonly (keyof SequenceCounts)[];

export const flowNames = [
  'received',
  'stored',
  'duplicate',
  'rejected',
  'waiting',
] as const satisfies readonly (keyof FlowCounts)[];

function countsOf<N extends string>(input: Record<string, unknown>, field: string, names: readonly N[]) {
  const entries = names.map((name) => [name, count(input[name], `${field}.${name}`)]);
  return Object.fromEntries(entries) as Record<N, number>;
}

function parseModuleReport(value: unknown, field: string): ModuleReport {
  const input = asObject(value, field, [
    'name',
    'source',
    'state',
    'firstSeenAt',
    'lastSeenAt',
    'lastSeq',
    ...sequenceNames,
  ]);
  return {
    name: asName(input.name, `${field}.name`),
    source: asName(input.source, `${field}.source`),
    state: asOneOf(input.state, `${field}.state`, moduleStates),
    firstSeenAt: at(input.firstSeenAt, `${field}.firstSeenAt`),
    lastSeenAt: at(input.lastSeenAt, `${field}.lastSeenAt`),
    lastSeq: input.lastSeq === null ? null : count(input.lastSeq, `${field}.lastSeq`),
    ...countsOf(input, field, sequenceNames),
  };
}

function parseSourceReport(value: unknown, field: string): SourceReport {
  const input = asObject(value, field, ['name', 'kind', 'fault', ...flowNames]);
  const fault = optional(input.fault, (v) => asString(v, `${field}.fault`, { max: 500 }));
  return {
    name: asName(input.name, `${field}.name`),
    kind: asName(input.kind, `${field}.kind`),
    ...countsOf(input, field, flowNames),
    ...(fault !== undefined && { fault }),
  };
}

/** Throws AppError `invalid-arguments` naming the field. */
export function parseModulesRequest(value: unknown): ModulesRequest {
  const input = asObject(value, 'kwargs', ['modules', 'sources', 'version']);
  const version = optional(input.version, (v) => asString(v, 'version', { max: 64 }));
  const modules = asArray(input.modules, 'modules', { max: moduleLimits.perReport }).map((each, index) =>
    parseModuleReport(each, `modules[${index}]`),
  );
  if (new Set(modules.map((each) => each.name)).size < modules.length)
    throw new AppError('invalid-arguments', 'modules must not name a module twice', {
      details: { field: 'modules' },
    });
  return {
    modules,
    sources: asArray(input.sources, 'sources', { max: moduleLimits.sources }).map((each, index) =>
      parseSourceReport(each, `sources[${index}]`),
    ),
    ...(version !== undefined && { version }),
  };
}

/** Throws AppError when the answer is none; unknown members pass. */
export function parseModulesAnswer(value: unknown): ModulesAnswer {
  const input = asObject(value, 'answer');
  const decisions = optional(input.decisions, (v) =>
    asArray(v, 'decisions', { max: moduleLimits.decisions }).map((each, index) => {
      const { name, state } = asObject(each, `decisions[${index}]`);
      return {
        name: asName(name, `decisions[${index}].name`),
        state: asOneOf(state, `decisions[${index}].state`, moduleStates),
      };
    }),
  );
  return {
    unknownDevices: asOneOf(input.unknownDevices, 'unknownDevices', unknownDevicePolicies),
    createPerMinute: count(input.createPerMinute, 'createPerMinute'),
    version: asString(input.version, 'version', { max: 64 }),
    ...(decisions && { decisions }),
  };
}
