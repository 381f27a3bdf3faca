/**
 * The procedures that the wamp-agent offers to boards: one typed map, and a parser per payload,
 * used by both ends. All of them take kwargs only and answer with one object.
 */

import { AppError } from '../runtime/app-error.ts';
import {
  asArray,
  asInteger,
  asNumber,
  asObject,
  asOneOf,
  asString,
  isUuid,
  optional,
} from '../runtime/guards.ts';
import type { ArtifactAnswer, ArtifactChunk } from './artifacts.ts';
import { type ProcedureContract, parseContracts } from './contract.ts';
import type { ModulesAnswer, ModulesRequest } from './modules.ts';
import type { ProgressRequest, ResultAnswer, ResultRequest } from './operations.ts';
import { parseStream, type ReadingsAck, type ReadingsBatch, type StreamDeclaration } from './readings.ts';

export interface BoardFacts {
  hostname?: string;
  os?: string;
  architecture?: string;
  agentVersion: string;
}

export interface EnrolRequest {
  /** The one-time code again: the ticket let the session in, this call spends it. */
  code: string;
  /** Ed25519 public key, lower-case hex, 64 characters. */
  publicKey: string;
  facts: BoardFacts;
}

/** What the server wants of a board; given by `enrol`, `hello`, and pushed by `operation.settings`. */
export interface BoardSettings {
  batchIntervalMs: number;
  heartbeatIntervalMs: number;
  /** The first delay after a lost session is random within this window. */
  reconnectSpreadMs: number;
}

export interface EnrolAnswer {
  boardUuid: string;
  boardName: string;
  tenantId: string;
  realm: string;
  routerUrls: string[];
  settings: BoardSettings;
}

export const connectivityKinds = ['ethernet', 'wifi', 'cellular', 'unknown'] as const;

export interface Connectivity {
  kind: (typeof connectivityKinds)[number];
  /** Address and interface of the outbound connection, as the board sees them. */
  localAddress?: string;
  interface?: string;
}

export interface ModuleDeclaration {
  name: string;
  description?: string;
  streams: StreamDeclaration[];
}

export interface HelloRequest {
  agentVersion: string;
  /** Changes with every start of the host; tells a reboot from a lost link. */
  bootId: string;
  connectivity: Connectivity;
  procedures: ProcedureContract[];
  modules: ModuleDeclaration[];
  /** Epoch of the spool, so that the fence exists before the first batch. */
  spoolEpoch: string;
  /** Identity of the journal of operations: another one knows nothing of what this board did before. */
  journalEpoch?: string;
}

export interface HelloAnswer {
  serverTime: number;
  routerUrls: string[];
  settings: BoardSettings;
  /** What the server has committed of the spool epoch: the board may delete up to it. */
  ackedSeq: number;
}

export interface HeartbeatRequest {
  /** The board's clock, epoch milliseconds. */
  sentAt: number;
  /** What the board measured on its previous heartbeat. */
  roundTripMs?: number;
  clockOffsetMs?: number;
  spooledReadings?: number;
}

export interface HeartbeatAnswer {
  serverTime: number;
  /** True when the server does not hold this session as the live one: say hello again. */
  helloNeeded: boolean;
}

export interface AgentProcedures {
  enrol: { kwargs: EnrolRequest; result: EnrolAnswer };
  hello: { kwargs: HelloRequest; result: HelloAnswer };
  heartbeat: { kwargs: HeartbeatRequest; result: HeartbeatAnswer };
  appendReadings: { kwargs: ReadingsBatch; result: ReadingsAck };
  operationResult: { kwargs: ResultRequest; result: ResultAnswer };
  operationProgress: { kwargs: ProgressRequest; result: { taken: boolean } };
  putArtifact: { kwargs: ArtifactChunk; result: ArtifactAnswer };
  reportModules: { kwargs: ModulesRequest; result: ModulesAnswer };
}

export const agentLimits = { modules: 200, streamsPerModule: 500, streams: 5000, routerUrls: 16 } as const;

const hexKey = /^[0-9a-f]{64}$/;
const moduleName = /^[A-Za-z0-9_][A-Za-z0-9_.:-]*$/;
const maxInterval = 3_600_000;

export function parseEnrolRequest(value: unknown): EnrolRequest {
  const input = asObject(value, 'kwargs', ['code', 'publicKey', 'facts']);
  const facts = asObject(input.facts, 'facts', ['hostname', 'os', 'architecture', 'agentVersion']);
  const hostname = optional(facts.hostname, (v) => asString(v, 'facts.hostname', { max: 255 }));
  const os = optional(facts.os, (v) => asString(v, 'facts.os', { max: 255 }));
  const architecture = optional(facts.architecture, (v) => asString(v, 'facts.architecture', { max: 50 }));
  return {
    code: asString(input.code, 'code', { max: 100 }),
    publicKey: asString(input.publicKey, 'publicKey', { min: 64, max: 64, pattern: hexKey }),
    facts: {
      agentVersion: asString(facts.agentVersion, 'facts.agentVersion', { max: 50 }),
      ...(hostname && { hostname }),
      ...(os && { os }),
      ...(architecture && { architecture }),
    },
  };
}

export function parseHelloRequest(value: unknown): HelloRequest {
  const input = asObject(value, 'kwargs', [
    'agentVersion',
    'bootId',
    'connectivity',
    'procedures',
    'modules',
    'spoolEpoch',
    'journalEpoch',
  ]);
  const connectivity = asObject(input.connectivity, 'connectivity', ['kind', 'localAddress', 'interface']);
  const localAddress = optional(connectivity.localAddress, (v) =>
    asString(v, 'connectivity.localAddress', { max: 100 }),
  );
  const networkInterface = optional(connectivity.interface, (v) =>
    asString(v, 'connectivity.interface', { max: 50 }),
  );
  if (!isUuid(input.spoolEpoch)) {
    throw new AppError('invalid-arguments', 'spoolEpoch must be a uuid', {
      details: { field: 'spoolEpoch' },
    });
  }
  const modules = asArray(input.modules, 'modules', { max: agentLimits.modules }).map((each, index) =>
    parseModule(each, `modules[${index}]`),
  );
  if (modules.reduce((sum, each) => sum + each.streams.length, 0) > agentLimits.streams)
    throw new AppError('invalid-arguments', `modules must have at most ${agentLimits.streams} streams`, {
      details: { field: 'modules' },
    });
  return {
    agentVersion: asString(input.agentVersion, 'agentVersion', { max: 50 }),
    bootId: asString(input.bootId, 'bootId', { max: 100 }),
    connectivity: {
      kind: asOneOf(connectivity.kind, 'connectivity.kind', connectivityKinds),
      ...(localAddress && { localAddress }),
      ...(networkInterface && { interface: networkInterface }),
    },
    procedures: parseContracts(input.procedures, 'procedures'),
    modules,
    spoolEpoch: input.spoolEpoch,
    ...(input.journalEpoch !== undefined && { journalEpoch: asJournalEpoch(input.journalEpoch) }),
  };
}

function asJournalEpoch(value: unknown): string {
  if (isUuid(value)) return value;
  throw new AppError('invalid-arguments', 'journalEpoch must be a uuid', {
    details: { field: 'journalEpoch' },
  });
}

function parseModule(value: unknown, field: string): ModuleDeclaration {
  const input = asObject(value, field, ['name', 'description', 'streams']);
  const description = optional(input.description, (v) =>
    asString(v, `${field}.description`, { max: 500, multiline: true }),
  );
  return {
    name: asString(input.name, `${field}.name`, { max: 60, pattern: moduleName }),
    ...(description && { description }),
    streams: asArray(input.streams, `${field}.streams`, { max: agentLimits.streamsPerModule }).map(
      (each, index) => parseStream(each, `${field}.streams[${index}]`),
    ),
  };
}

export function parseHeartbeatRequest(value: unknown): HeartbeatRequest {
  const input = asObject(value, 'kwargs', ['sentAt', 'roundTripMs', 'clockOffsetMs', 'spooledReadings']);
  const roundTripMs = optional(input.roundTripMs, (v) =>
    asNumber(v, 'roundTripMs', { min: 0, max: maxInterval }),
  );
  const clockOffsetMs = optional(input.clockOffsetMs, (v) => asNumber(v, 'clockOffsetMs'));
  const spooledReadings = optional(input.spooledReadings, (v) =>
    asInteger(v, 'spooledReadings', { min: 0, max: Number.MAX_SAFE_INTEGER }),
  );
  return {
    sentAt: asNumber(input.sentAt, 'sentAt'),
    ...(roundTripMs !== undefined && { roundTripMs }),
    ...(clockOffsetMs !== undefined && { clockOffsetMs }),
    ...(spooledReadings !== undefined && { spooledReadings }),
  };
}

function parseUrls(value: unknown, field: string): string[] {
  return asArray(value, field, { min: 1, max: agentLimits.routerUrls }).map((each) =>
    asString(each, field, { max: 500, pattern: /^wss?:\/\// }),
  );
}

/** Settings from the server; unknown members pass, so that an older board works with a newer server. */
export function parseBoardSettings(value: unknown, field = 'settings'): BoardSettings {
  const input = asObject(value, field);
  return {
    batchIntervalMs: asInteger(input.batchIntervalMs, `${field}.batchIntervalMs`, {
      min: 0,
      max: maxInterval,
    }),
    heartbeatIntervalMs: asInteger(input.heartbeatIntervalMs, `${field}.heartbeatIntervalMs`, {
      min: 100,
      max: maxInterval,
    }),
    reconnectSpreadMs: asInteger(input.reconnectSpreadMs, `${field}.reconnectSpreadMs`, {
      min: 0,
      max: maxInterval,
    }),
  };
}

export function parseEnrolAnswer(value: unknown): EnrolAnswer {
  const input = asObject(value, 'answer');
  return {
    boardUuid: asString(input.boardUuid, 'boardUuid', { max: 36 }),
    boardName: asString(input.boardName, 'boardName', { max: 255 }),
    tenantId: asString(input.tenantId, 'tenantId', { max: 36 }),
    realm: asString(input.realm, 'realm', { max: 100 }),
    routerUrls: parseUrls(input.routerUrls, 'routerUrls'),
    settings: parseBoardSettings(input.settings),
  };
}

export function parseHelloAnswer(value: unknown): HelloAnswer {
  const input = asObject(value, 'answer');
  return {
    serverTime: asNumber(input.serverTime, 'serverTime'),
    routerUrls: parseUrls(input.routerUrls, 'routerUrls'),
    settings: parseBoardSettings(input.settings),
    ackedSeq: asInteger(input.ackedSeq, 'ackedSeq', { min: 0, max: Number.MAX_SAFE_INTEGER }),
  };
}

export function parseHeartbeatAnswer(value: unknown): HeartbeatAnswer {
  const input = asObject(value, 'answer');
  return { serverTime: asNumber(input.serverTime, 'serverTime'), helloNeeded: input.helloNeeded === true };
}
