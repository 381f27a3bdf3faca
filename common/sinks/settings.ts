/** What can be set on a sink, by its kind; read by the api when it is made, and by the conductor. */
import { checkStreamPattern, matchesPattern, matchesText } from '../alarms/stream-pattern.ts';
import { AppError } from '../runtime/app-error.ts';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asOneOf,
  asString,
  type JsonObject,
  optional,
} from '../runtime/guards.ts';
import { checkTemplate } from './template.ts';

export const sinkKinds = ['influx', 'webhook', 'mqtt', 'file'] as const;
export type SinkKind = (typeof sinkKinds)[number];

export const sinkDefaults = { batchSize: 10, maxAgeMs: 2000 } as const;
export const sinkLimits = {
  perTenant: 20,
  batchSize: 1000,
  maxAgeMs: { min: 100, max: 600_000 },
  patterns: 50,
  deadLetters: 10_000,
} as const;

export interface InfluxSettings {
  api: 'v1' | 'v2';
  /** Without a path: /write or /api/v2/write is added. */
  url: string;
  database?: string;
  retentionPolicy?: string;
  username?: string;
  org?: string;
  bucket?: string;
  /** Template of the measurement's name. */
  measurement: string;
  booleans: 'boolean' | 'number';
}

export interface WebhookSinkSettings {
  url: string;
}

export interface MqttSettings {
  url: string;
  topic: string;
  username?: string;
  clientId?: string;
  /** PEM of who signed the broker's certificate. */
  ca?: string;
  retain: boolean;
  protocolVersion: 4 | 5;
}

export interface FileSettings {
  name: string;
  maxMegabytes: number;
  /** The current one and those before. */
  files: number;
}

export interface SettingsOf {
  influx: InfluxSettings;
  webhook: WebhookSinkSettings;
  mqtt: MqttSettings;
  file: FileSettings;
}

/** Never shown again. */
export interface SecretsOf {
  influx: { password?: string; token?: string };
  webhook: { secret?: string };
  mqtt: { password?: string };
  file: Record<string, never>;
}

export interface SinkFilter {
  /** Names of streams, with `*` for any text within a segment. */
  streams?: string[];
  /** Ids, or names with `*`. */
  boards?: string[];
}

const fault = (field: string, rule: string) =>
  new AppError('invalid-arguments', `${field} ${rule}`, { details: { field } });

const nameText = (value: unknown, field: string) => asString(value, field, { min: 1, max: 200 });
const maybeName = (value: unknown, field: string) => optional(value, (v) => nameText(v, field));

/** Left out when undefined, so that what is stored is what was set. */
function defined<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

function asUrl(value: unknown, field: string, protocols: readonly string[]): string {
  const text = asString(value, field, { min: 1, max: 500 });
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !protocols.includes(url.protocol) || url.hostname === '')
    throw fault(field, `must be a URL that begins with ${protocols.map((each) => `${each}//`).join(' or ')}`);
  if (url.username !== '' || url.password !== '') throw fault(field, 'must not hold a user name or password');
  if (url.hash !== '') throw fault(field, 'must not have a fragment');
  return text;
}

function parseInflux(value: unknown): InfluxSettings {
  const input = asObject(value, 'settings', [
    'api',
    'url',
    'database',
    'retentionPolicy',
    'username',
    'org',
    'bucket',
    'measurement',
    'booleans',
  ]);
  const settings = defined<InfluxSettings>({
    api: asOneOf(input.api ?? 'v1', 'settings.api', ['v1', 'v2'] as const),
    url: asUrl(input.url, 'settings.url', ['http:', 'https:']),
    database: maybeName(input.database, 'settings.database'),
    retentionPolicy: maybeName(input.retentionPolicy, 'settings.retentionPolicy'),
    username: optional(input.username, (v) => {
      const text = nameText(v, 'settings.username');
      // It ends the name in a login (RFC 7617 §2).
      if (text.includes(':')) throw fault('settings.username', 'must not have a colon');
      return text;
    }),
    org: maybeName(input.org, 'settings.org'),
    bucket: maybeName(input.bucket, 'settings.bucket'),
    measurement: checkTemplate(
      asString(input.measurement ?? '{module}', 'settings.measurement', { min: 1, max: 200 }),
      'settings.measurement',
    ),
    booleans: asOneOf(input.booleans ?? 'boolean', 'settings.booleans', ['boolean', 'number'] as const),
  });
  const { search } = new URL(settings.url);
  if (search !== '') throw fault('settings.url', 'must not have a query');
  const [needed, foreign] =
    settings.api === 'v1'
      ? [['database'] as const, ['org', 'bucket'] as const]
      : [['org', 'bucket'] as const, ['database', 'retentionPolicy', 'username'] as const];
  for (const name of needed)
    if (settings[name] === undefined) throw fault(`settings.${name}`, `is needed with api ${settings.api}`);
  for (const name of foreign)
    if (settings[name] !== undefined)
      throw fault(`settings.${name}`, `does not belong to api ${settings.api}`);
  return settings;
}

/** Certificates; unlike other texts they have line breaks. */
function asPem(value: unknown, field: string): string {
  if (typeof value !== 'string' || !/^-----BEGIN CERTIFICATE-----\r?\n[\x20-\x7e\r\n]+$/.test(value))
    throw fault(field, 'must be certificates in PEM');
  if (value.length > 20_000) throw fault(field, 'must have at most 20000 characters');
  return value;
}

function parseMqtt(value: unknown): MqttSettings {
  const input = asObject(value, 'settings', [
    'url',
    'topic',
    'username',
    'clientId',
    'ca',
    'retain',
    'protocolVersion',
  ]);
  const topic = checkTemplate(
    asString(input.topic ?? '{board}/{module}/{measurement}', 'settings.topic', { min: 1, max: 500 }),
    'settings.topic',
  );
  if (/[+#\0]/.test(topic)) throw fault('settings.topic', 'must not hold + or #');
  const url = asUrl(input.url, 'settings.url', ['mqtt:', 'mqtts:']);
  if (!/^(\/?)$/.test(new URL(url).pathname) || new URL(url).search !== '')
    throw fault('settings.url', 'must name host and port only');
  const version = asInteger(input.protocolVersion ?? 5, 'settings.protocolVersion', { min: 4, max: 5 });
  return defined<MqttSettings>({
    url,
    topic,
    username: maybeName(input.username, 'settings.username'),
    clientId: maybeName(input.clientId, 'settings.clientId'),
    ca: optional(input.ca, (v) => asPem(v, 'settings.ca')),
    retain: asBoolean(input.retain ?? false, 'settings.retain'),
    protocolVersion: version === 4 ? 4 : 5,
  });
}

function parseFile(value: unknown): FileSettings {
  const input = asObject(value, 'settings', ['name', 'maxMegabytes', 'files']);
  return {
    name: asString(input.name ?? 'readings', 'settings.name', {
      min: 1,
      max: 60,
      pattern: /^[A-Za-z0-9][A-Za-z0-9_-]*$/,
    }),
    maxMegabytes: asInteger(input.maxMegabytes ?? 64, 'settings.maxMegabytes', { min: 1, max: 4096 }),
    files: asInteger(input.files ?? 10, 'settings.files', { min: 2, max: 1000 }),
  };
}

const parsers: { [K in SinkKind]: (value: unknown) => SettingsOf[K] } = {
  influx: parseInflux,
  webhook: (value) => ({
    url: asUrl(asObject(value, 'settings', ['url']).url, 'settings.url', ['http:', 'https:']),
  }),
  mqtt: parseMqtt,
  file: parseFile,
};

/** With what was left out filled in. Throws AppError `invalid-arguments` naming the field. */
export function parseSinkSettings<K extends SinkKind>(kind: K, value: unknown): SettingsOf[K] {
  return parsers[kind](value);
}

const secretNames = {
  influx: ['password', 'token'],
  webhook: ['secret'],
  mqtt: ['password'],
  file: [],
} as const;

const secretRules = {
  password: { min: 1, max: 1000 },
  // It stands in a header as it is.
  token: { min: 1, max: 1000, pattern: /^[\x21-\x7e]+$/ },
  secret: { min: 16, max: 1000 },
} as const;

/** Throws AppError `invalid-arguments` naming the field. */
export function parseSinkSecrets(kind: SinkKind, settings: object, value: unknown): Record<string, string> {
  const input = asObject(value ?? {}, 'secrets', secretNames[kind]);
  const secrets: Record<string, string> = {};
  for (const name of secretNames[kind])
    if (input[name] !== undefined)
      secrets[name] = asString(input[name], `secrets.${name}`, secretRules[name]);
  if (kind === 'webhook' && secrets.secret === undefined)
    throw fault('secrets.secret', 'is needed: requests are signed with it');
  if (kind === 'influx' && (settings as InfluxSettings).api === 'v2' && secrets.token === undefined)
    throw fault('secrets.token', 'is needed with api v2');
  return secrets;
}

/** Throws AppError `invalid-arguments` naming the field. */
export function parseSinkFilter(value: unknown): SinkFilter {
  const input = asObject(value ?? {}, 'filter', ['streams', 'boards']);
  const patterns = (list: unknown, field: string) =>
    optional(list, (v) =>
      asArray(v, field, { min: 1, max: sinkLimits.patterns }).map((each, index) =>
        asString(each, `${field}[${index}]`, { min: 1, max: 150 }),
      ),
    );
  return defined<SinkFilter>({
    // One without a segment would match nothing, and all would be passed over.
    streams: patterns(input.streams, 'filter.streams')?.map((each, index) =>
      checkStreamPattern(each, `filter.streams[${index}]`),
    ),
    boards: patterns(input.boards, 'filter.boards'),
  });
}

/** What the filter lets pass. */
export function createFilter(
  filter: SinkFilter,
): (board: { uuid: string; name: string }, stream: string) => boolean {
  const { streams, boards } = filter;
  return (board, stream) =>
    (streams === undefined || streams.some((each) => matchesPattern(each, stream))) &&
    (boards === undefined || boards.some((each) => each === board.uuid || matchesText(each, board.name)));
}

/** Where it leads to over the network; undefined for a file. */
export function urlOf(kind: SinkKind, settings: JsonObject): URL | undefined {
  return kind === 'file' ? undefined : new URL(String(settings.url));
}
