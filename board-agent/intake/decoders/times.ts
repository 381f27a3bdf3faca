/** Times as devices write them. All give epoch milliseconds or throw. */
import { latestAt } from '../../../common/wamp/readings.ts';
import { undecodable } from './decoder-kind.ts';

export const timeUnits = ['s', 'ms', 'rfc3339'] as const;
export type TimeUnit = (typeof timeUnits)[number];

/** Before this a clock is not set, or the unit is another one than the rule says. */
const earliestAt = Date.UTC(2000, 0, 1);

const rfc3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,12})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$/;

/** Without a unit a text is RFC 3339, and a number epoch milliseconds. */
export function parseTime(value: unknown, field: string, unit?: TimeUnit): number {
  if (typeof value === 'string' && (unit === undefined || unit === 'rfc3339'))
    return parseRfc3339(value, field);
  if (typeof value !== 'number' || unit === 'rfc3339')
    throw undecodable(`${field} must be ${unit === 's' || unit === 'ms' ? 'a number' : 'an RFC 3339 time'}`);
  return checkTime(unit === 's' ? value * 1000 : value, field);
}

export function parseRfc3339(text: string, field: string): number {
  const parts = text.length > 50 ? null : rfc3339.exec(text);
  const at = parts ? Date.parse(text.replace(' ', 'T').toUpperCase().replace(':60', ':59')) : Number.NaN;
  const [, year, month, day] = (parts ?? []).map(Number);
  const daysInMonth = new Date(Date.UTC(year ?? 0, month ?? 0, 0)).getUTCDate();
  if (Number.isNaN(at) || (day ?? 0) > daysInMonth) throw undecodable(`${field} is not an RFC 3339 time`);
  return checkTime(at, field);
}

/** Rounded to whole milliseconds. */
export function checkTime(at: number, field: string): number {
  if (!(at >= earliestAt && at <= latestAt))
    throw undecodable(
      `${field} is not between the years 2000 and 9999 (a clock that is not set, or the wrong unit?)`,
    );
  return Math.round(at);
}
