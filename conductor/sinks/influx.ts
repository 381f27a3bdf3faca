/**
 * InfluxDB, by its HTTP API: v1 `/write`, v2 `/api/v2/write`. A point of the same series and time
 * overwrites the earlier one, so a batch that is written again changes nothing; so do two readings of
 * one stream at the very same millisecond.
 */
import type { InfluxSettings, SecretsOf } from '../../common/sinks/settings.ts';
import { fillTemplate } from '../../common/sinks/template.ts';
import { createKeptConnection } from '../webhooks/kept-connection.ts';
import { post } from '../webhooks/post.ts';
import { createBisected } from './bisect.ts';
import { toSendOutcome } from './http-outcome.ts';
import { formatLine } from './line-protocol.ts';
import { type SinkPoint, type SinkTarget, type TargetContext, templateValues } from './sink-kind.ts';

export function createInfluxTarget(
  settings: InfluxSettings,
  secrets: SecretsOf['influx'],
  { config, timeoutMs }: TargetContext,
): SinkTarget {
  const url = writeUrl(settings);
  const headers = { 'content-type': 'text/plain; charset=utf-8', ...login(settings, secrets) };
  const connection = createKeptConnection();
  return {
    write: createBisected(async (some, signal) => {
      const body = some.map((each) => toLine(each, settings)).join('\n');
      const { allowPrivate } = config;
      return toSendOutcome(await post({ url, headers, body, allowPrivate, timeoutMs, signal, connection }));
    }),
    async close() {
      connection.close();
    },
  };
}

export function writeUrl(settings: InfluxSettings): string {
  const url = new URL(settings.url);
  const base = url.pathname.replace(/\/$/, '');
  const { database, retentionPolicy, org, bucket } = settings;
  const isV1 = settings.api === 'v1';
  url.pathname = `${base}${isV1 ? '/write' : '/api/v2/write'}`;
  const query = isV1 ? { db: database, rp: retentionPolicy } : { org, bucket };
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) url.searchParams.set(name, value);
  url.searchParams.set('precision', 'ms');
  return url.href;
}

/** In a header, never in the URL: URLs are logged. */
function login({ api, username }: InfluxSettings, { password = '', token }: SecretsOf['influx']) {
  if (api === 'v2') return { authorization: `Token ${token}` };
  if (username === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

export function toLine(point: SinkPoint, settings: Pick<InfluxSettings, 'measurement' | 'booleans'>): string {
  const values = templateValues(point);
  const isNumber = typeof point.value === 'boolean' && settings.booleans === 'number';
  return formatLine({
    measurement: fillTemplate(settings.measurement, values),
    tags: [
      ['board', point.boardName],
      ['board_id', point.board],
      ['module', values.module],
    ],
    field: values.measurement,
    value: isNumber ? Number(point.value) : point.value,
    at: point.at,
  });
}
