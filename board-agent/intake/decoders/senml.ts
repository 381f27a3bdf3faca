/**
 * SenML packs (RFC 8428), resolved: base values added, relative times made absolute. A name is cut
 * at its last `/` or `:` into module and measurement; a name without is a measurement, and
 * `urn:dev:<kind>:<id>` alone is a module. Slashes in a module become dots.
 */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded, DecodedReading } from '../types.ts';
import { decoderLimits, undecodable } from './decoder-kind.ts';
import { checkTime } from './times.ts';

interface Base {
  name: string;
  time: number;
  unit?: string;
  value?: number;
  sum?: number;
}

/** The RFC's own; what is below was never published, and is what its examples say. */
const latestVersion = 10;
/** Adds secondary units (RFC 9100), which are kept as they are. */
const versionOfSecondaryUnits = 26;
/** Times below are relative to now, in seconds (RFC 8428, section 4.5.3). */
const absoluteFrom = 2 ** 28;
const namePattern = /^[A-Za-z0-9/][A-Za-z0-9/:._-]*$/;
const known = ['bn', 'bt', 'bu', 'bv', 'bs', 'bver', 'n', 'u', 'v', 'vs', 'vb', 'vd', 's', 't', 'ut'];

/** Records with the labels of SenML-JSON. */
export function resolveSenml(pack: unknown, receivedAt: number): Decoded {
  if (!Array.isArray(pack)) throw undecodable('a SenML pack must be a list of records');
  const base: Base = { name: '', time: 0 };
  const readings: DecodedReading[] = [];
  for (const [index, record] of pack.entries()) {
    const at = `record ${index}`;
    if (typeof record !== 'object' || record === null || Array.isArray(record))
      throw undecodable(`${at} must be a map`);
    takeBases(record as JsonObject, base, at);
    readings.push(...resolveRecord(record as JsonObject, base, at, receivedAt));
    if (readings.length > decoderLimits.readings)
      throw undecodable(`the message has more than ${decoderLimits.readings} readings`);
  }
  return { readings };
}

function takeBases(record: JsonObject, base: Base, at: string): void {
  // Their absence from the list of what is known is the whole point of such labels.
  const must = Object.keys(record).find((label) => label.endsWith('_') && !known.includes(label));
  if (must !== undefined) throw undecodable(`${at}: '${must.slice(0, 60)}' must be understood, and is not`);
  const { bver, bn, bt, bu, bv, bs } = record;
  if (bver !== undefined && !isKnownVersion(bver))
    throw undecodable(
      `${at}: bver ${String(bver).slice(0, 20)} must be 1 to ${latestVersion}, or ${versionOfSecondaryUnits}`,
    );
  if (bn !== undefined) base.name = asText(bn, `${at}: bn`);
  if (bt !== undefined) base.time = asFinite(bt, `${at}: bt`);
  if (bu !== undefined) base.unit = asText(bu, `${at}: bu`);
  if (bv !== undefined) base.value = asFinite(bv, `${at}: bv`);
  if (bs !== undefined) base.sum = asFinite(bs, `${at}: bs`);
}

function isKnownVersion(bver: unknown): boolean {
  if (bver === versionOfSecondaryUnits) return true;
  return Number.isSafeInteger(bver) && (bver as number) >= 1 && (bver as number) <= latestVersion;
}

function resolveRecord(record: JsonObject, base: Base, at: string, receivedAt: number): DecodedReading[] {
  const { n, u, t, s } = record;
  const given = readValue(record, at);
  // It may be there for its base values alone.
  if ([given, s, n, u, t].every((each) => each === undefined)) return [];
  const { value, sum } = addBases(given, s === undefined ? undefined : asFinite(s, `${at}: s`), base);
  if (value === undefined && sum === undefined) throw undecodable(`${at} has neither a value nor a sum`);
  const name = splitName(base.name + (n === undefined ? '' : asText(n, `${at}: n`)), at);
  const unit = u === undefined ? base.unit : asText(u, `${at}: u`);
  const time = base.time + (t === undefined ? 0 : asFinite(t, `${at}: t`));
  const when =
    time >= absoluteFrom ? checkTime(time * 1000, `${at}: its time`) : Math.round(receivedAt + time * 1000);
  const common = { ...(name.module !== undefined && { module: name.module }), at: when };
  const readings: DecodedReading[] = [];
  if (value !== undefined)
    readings.push({ ...common, measurement: name.measurement, value, ...(unit !== undefined && { unit }) });
  if (sum !== undefined)
    readings.push({
      ...common,
      measurement: name.measurement === '' ? 'sum' : `${name.measurement}.sum`,
      value: sum,
      // The sum is over time: in the unit times seconds.
      ...(unit !== undefined && { unit: `${unit}.s` }),
    });
  return readings;
}

type Value = DecodedReading['value'];

/** Of base and own one may be missing: it counts as zero (RFC 8428, section 4.5.4). */
function addBases(given: Value | undefined, ownSum: number | undefined, base: Base) {
  const isNumber = given === undefined || typeof given === 'number';
  // A record that is a sum need not have a value.
  const onlySum = given === undefined && ownSum !== undefined;
  const value = isNumber && !onlySum ? add(given, base.value) : given;
  return { value, sum: isNumber ? add(ownSum, base.sum) : ownSum };
}

function add(own: number | undefined, base: number | undefined): number | undefined {
  return own === undefined ? base : own + (base ?? 0);
}

function readValue(record: JsonObject, at: string): Value | undefined {
  const given = ['v', 'vs', 'vb', 'vd'].filter((label) => record[label] !== undefined);
  if (given.length > 1) throw undecodable(`${at} has more than one value (${given.join(', ')})`);
  const { v, vs, vb, vd } = record;
  if (v !== undefined) return asFinite(v, `${at}: v`);
  if (vs !== undefined) return asText(vs, `${at}: vs`);
  if (vd !== undefined) return asText(vd, `${at}: vd`);
  if (vb === undefined || typeof vb === 'boolean') return vb;
  throw undecodable(`${at}: vb must be true or false`);
}

function splitName(full: string, at: string): { module?: string; measurement: string } {
  if (full === '') throw undecodable(`${at} has no name`);
  if (full.length > 250 || !namePattern.test(full))
    throw undecodable(`${at}: '${full.slice(0, 60)}' is no SenML name`);
  const name = full.replace(/^\/+/, '');
  if (/^urn:dev:[a-z]+:[^:/]+[:/]?$/.test(name))
    return { module: name.replace(/[:/]$/, ''), measurement: '' };
  const cut = Math.max(name.lastIndexOf('/'), name.lastIndexOf(':'));
  if (cut < 0) return { measurement: name };
  return { module: name.slice(0, cut).replaceAll('/', '.'), measurement: name.slice(cut + 1) };
}

function asFinite(value: unknown, field: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw undecodable(`${field} must be a finite number`);
}

function asText(value: unknown, field: string): string {
  if (typeof value === 'string') return value;
  throw undecodable(`${field} must be a text`);
}
