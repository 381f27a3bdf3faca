/**
 * Events of ChirpStack's integrations in JSON (v4; v3 where it differs): devEui is the device, fCnt of
 * an uplink its sequence number, what the codec made of the payload the readings. Which event it is
 * is told by the topic (`…/event/{event}`) or by what is in it. An event that measures nothing (join,
 * acknowledgements, log) is refused with its name: leave its topic out, or give it a rule of its own.
 */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded, DecodedReading, DecoderInput } from '../types.ts';
import { asSequence, type DecoderKind, noOptions, undecodable } from './decoder-kind.ts';
import { flatten } from './flatten.ts';
import { readJson } from './text.ts';
import { parseRfc3339 } from './times.ts';

type Event = JsonObject;

export const chirpstackDecoder: DecoderKind = { name: 'chirpstack', options: noOptions, decode };

function decode({ payload, captures }: DecoderInput): Decoded {
  const event = asMap(readJson(payload));
  if (!event) throw undecodable('the payload must be an object');
  const kind = captures.event ?? kindOf(event);
  const read = readers[kind];
  if (!Object.hasOwn(readers, kind) || !read)
    throw undecodable(`a ChirpStack event '${kind.slice(0, 40)}' has no readings`);
  const device = deviceOf(event);
  const at = timeOf(event);
  const readings = read(event).map((each) => (at === undefined ? each : { ...each, at }));
  return { device, readings, ...(kind === 'up' && { seq: frameCounter(event) }) };
}

const readers: Record<string, (event: Event) => DecodedReading[]> = {
  up: readUplink,
  status: readStatus,
  location: readLocation,
  integration: (event) => flatten(readObject(event) ?? {}),
};

/** By the members that only this kind of event has. */
function kindOf(event: Event): string {
  const has = (...names: string[]) => names.some((name) => Object.hasOwn(event, name));
  if (has('batteryLevel', 'batteryLevelUnavailable', 'margin')) return 'status';
  if (has('integrationName')) return 'integration';
  if (has('acknowledged')) return 'ack';
  if (has('downlinkId', 'gatewayId', 'gatewayID')) return 'txack';
  if (has('level', 'code', 'description', 'error')) return 'log';
  if (has('location')) return 'location';
  if (has('fPort', 'data', 'object', 'objectJSON', 'adr', 'confirmed', 'confirmedUplink')) return 'up';
  // What v3 says when a device has joined, and when a gateway will send, has nothing of its own.
  if (has('rxInfo')) return has('devAddr') && !has('fCnt') ? 'join' : 'up';
  if (has('fCnt')) return 'txack';
  return has('devAddr') ? 'join' : 'unknown';
}

function deviceOf(event: Event): string {
  const eui = asMap(event.deviceInfo)?.devEui ?? event.devEui ?? event.devEUI;
  if (typeof eui === 'string') {
    if (/^[0-9A-Fa-f]{16}$/.test(eui)) return eui.toLowerCase();
    // v3 with the Protobuf marshaler: eight bytes in base64.
    if (/^[A-Za-z0-9+/]{11}=$/.test(eui)) return Buffer.from(eui, 'base64').toString('hex');
  }
  throw undecodable('deviceInfo.devEui must be a device EUI: 16 hexadecimal digits');
}

/**
 * The frame counter. ChirpStack before 4.1 leaves a zero out (its issue 43), and so does v3: an
 * uplink without one is the first.
 */
function frameCounter({ fCnt = 0 }: Event): number {
  return asSequence(fCnt, 'fCnt');
}

function timeOf(event: Event): number | undefined {
  const time = event.time ?? event.publishedAt ?? receptions(event).find((each) => each.time)?.time;
  if (time === undefined || time === null) return undefined;
  if (typeof time !== 'string') throw undecodable('time must be an RFC 3339 time');
  return parseRfc3339(time, 'time');
}

function readUplink(event: Event): DecodedReading[] {
  const decoded = readObject(event);
  const readings = flatten(decoded ?? {});
  // Without a codec the bytes are all there is.
  if ((decoded === undefined || decoded === null) && typeof event.data === 'string' && event.data !== '')
    readings.push({ measurement: 'data', value: event.data });
  const names = new Set(readings.map((each) => each.measurement));
  return [...readings, ...readRadio(event).filter((each) => !names.has(each.measurement))];
}

/** What a codec or an integration made; v3 has it as a text. */
function readObject({ object, objectJSON }: Event): unknown {
  if (object !== undefined && object !== null) return object;
  if (typeof objectJSON !== 'string' || objectJSON === '') return undefined;
  return readJson(Buffer.from(objectJSON), 'objectJSON');
}

/** How well the best gateway heard it, and how many did. */
function readRadio(event: Event): DecodedReading[] {
  const heard = receptions(event);
  if (heard.length === 0) return [];
  const best = (values: unknown[]) => {
    const numbers = values.filter((each): each is number => typeof each === 'number');
    return numbers.length === 0 ? undefined : numbers.reduce((left, right) => Math.max(left, right));
  };
  const rssi = best(heard.map((each) => each.rssi));
  const snr = best(heard.map((each) => each.snr ?? each.loRaSNR));
  return [
    ...(rssi === undefined ? [] : [{ measurement: 'rx.rssi', value: rssi, unit: 'dBm' }]),
    ...(snr === undefined ? [] : [{ measurement: 'rx.snr', value: snr, unit: 'dB' }]),
    { measurement: 'rx.gateways', value: heard.length },
  ];
}

function receptions({ rxInfo }: Event): Event[] {
  return Array.isArray(rxInfo) ? rxInfo.map(asMap).filter((each) => each !== undefined) : [];
}

function readStatus(event: Event): DecodedReading[] {
  const readings: DecodedReading[] = [];
  const { batteryLevel, margin, externalPowerSource } = event;
  if (
    typeof batteryLevel === 'number' &&
    event.batteryLevelUnavailable !== true &&
    externalPowerSource !== true
  )
    readings.push({ measurement: 'battery', value: batteryLevel, unit: '%' });
  if (typeof margin === 'number') readings.push({ measurement: 'margin', value: margin, unit: 'dB' });
  if (typeof externalPowerSource === 'boolean')
    readings.push({ measurement: 'external_power', value: externalPowerSource });
  if (readings.length === 0) throw undecodable('the status event has neither battery level nor margin');
  return readings;
}

function readLocation({ location }: Event): DecodedReading[] {
  const { latitude, longitude, altitude, accuracy } = asMap(location) ?? {};
  if (typeof latitude !== 'number' || typeof longitude !== 'number')
    throw undecodable('the location event must have latitude and longitude');
  return [
    { measurement: 'latitude', value: latitude, unit: 'deg' },
    { measurement: 'longitude', value: longitude, unit: 'deg' },
    ...(typeof altitude === 'number' ? [{ measurement: 'altitude', value: altitude, unit: 'm' }] : []),
    ...(typeof accuracy === 'number' ? [{ measurement: 'accuracy', value: accuracy, unit: 'm' }] : []),
  ];
}

function asMap(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}
