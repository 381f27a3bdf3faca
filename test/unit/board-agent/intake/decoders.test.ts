import { encode } from 'cborg';
import { describe, expect, it } from 'vitest';
import type { Decoded } from '../../../../board-agent/intake/types.ts';
import { decode, receivedAt, valuesOf } from './decode.ts';
import { samples, uplink } from './samples.ts';

const at = (text: string) => Date.parse(text);
const ow = 'urn:dev:ow:10e2073a0108006';

/** RFC 8428, section 5.1: module, measurement, value, unit and time of each. */
const rfcExamples = [
  {
    title: 'a single datapoint',
    pack: [{ n: 'urn:dev:ow:10e2073a01080063', u: 'Cel', v: 23.1 }],
    readings: [['urn:dev:ow:10e2073a01080063', receivedAt, '', 23.1, 'Cel']],
  },
  {
    title: 'multiple datapoints',
    pack: [
      { bn: `${ow}:`, bt: 1.276020076001e9, bu: 'A', bver: 5, n: 'voltage', u: 'V', v: 120.1 },
      { n: 'current', t: -5, v: 1.2 },
      { n: 'current', v: 1.7 },
    ],
    readings: [
      [ow, 1_276_020_076_001, 'voltage', 120.1, 'V'],
      [ow, 1_276_020_071_001, 'current', 1.2, 'A'],
      [ow, 1_276_020_076_001, 'current', 1.7, 'A'],
    ],
  },
  {
    title: 'multiple measurements',
    pack: [
      { bn: 'urn:dev:ow:10e2073a01080063', bt: 1.320067464e9, bu: '%RH', v: 20 },
      { u: 'lon', v: 24.30621 },
      { t: 60, v: 20.3 },
    ],
    readings: [
      ['urn:dev:ow:10e2073a01080063', 1_320_067_464_000, '', 20, '%RH'],
      ['urn:dev:ow:10e2073a01080063', 1_320_067_464_000, '', 24.30621, 'lon'],
      ['urn:dev:ow:10e2073a01080063', 1_320_067_524_000, '', 20.3, '%RH'],
    ],
  },
  {
    title: 'multiple data types',
    pack: [
      { bn: 'urn:dev:ow:10e2073a01080063:', n: 'temp', u: 'Cel', v: 23.1 },
      { n: 'label', vs: 'Machine Room' },
      { n: 'open', vb: false },
      { n: 'nfc-reader', vd: 'aGkgCg' },
    ],
    readings: [
      ['urn:dev:ow:10e2073a01080063', receivedAt, 'temp', 23.1, 'Cel'],
      ['urn:dev:ow:10e2073a01080063', receivedAt, 'label', 'Machine Room'],
      ['urn:dev:ow:10e2073a01080063', receivedAt, 'open', false],
      ['urn:dev:ow:10e2073a01080063', receivedAt, 'nfc-reader', 'aGkgCg'],
    ],
  },
];

describe('cbor', () => {
  it('is as json from a map', () => {
    expect(
      valuesOf(
        decode('cbor', encode({ temp: 21.5, a: { b: true }, raw: Uint8Array.of(251, 255), big: 2n ** 60n })),
      ),
    ).toEqual({
      temp: 21.5,
      'a.b': true,
      raw: '-_8',
      big: 2 ** 60,
    });
  });

  it('recognises the envelope, and the bytes that are signed', () => {
    const data = encode({ temp: 21.5 });
    // Not in the order that an encoder would choose, and of indefinite length.
    const payload = Buffer.concat([
      Buffer.from([0xbf]),
      ...[
        encode('mac'),
        encode('ab'),
        encode('data'),
        data,
        encode('device'),
        encode('n1'),
        encode('seq'),
        encode(5),
      ],
      Buffer.from([0xff]),
    ]);
    const decoded = decode('cbor', payload);
    expect(decoded).toMatchObject({
      device: 'n1',
      seq: 5,
      mac: 'ab',
      readings: [{ measurement: 'temp', value: 21.5 }],
    });
    expect(Buffer.from(decoded.signed ?? [])).toEqual(Buffer.from(data));
  });

  it('understands decimal fractions', () => {
    expect(valuesOf(decode('cbor', Buffer.from('a16178c48221196ab3', 'hex')))).toEqual({ x: 273.15 });
  });

  it('has the bytes of the time among those that are signed', () => {
    const map = new Map<string, unknown>(
      Object.entries({ time: 1_795_860_000_000, data: [1], mac: 'ab', device: 'n1' }),
    );
    const { signed } = decode('cbor', encode(map));
    const parts = [encode(1_795_860_000_000), Buffer.from('\n'), encode([1])];
    expect(Buffer.from(signed ?? [])).toEqual(Buffer.concat(parts));
  });

  it.each([
    ['a1616101ff', 'not CBOR'],
    ['a2010561310b', "the key '1' occurs twice"],
    ['a2616101616102', 'repeat map key'],
    ['a1616a', 'not enough entries'],
    ['d8376101', 'tag not supported'],
    ['a1f401', 'keys of maps must be texts or whole numbers'],
  ])('refuses %s', (hex, reason) => {
    expect(() => decode('cbor', Buffer.from(hex, 'hex'))).toThrow(reason);
  });
});

describe('senml+json', () => {
  const senml = (records: unknown) => decode('senml+json', JSON.stringify(records));

  it('resolves base values as RFC 8428 does', () => {
    const base = { bn: 'urn:dev:ow:10e2073a0108006:', bt: 1_276_020_076.001, bu: 'A', bver: 10, bv: 100 };
    expect(
      senml([
        { ...base, n: 'voltage', u: 'V', v: 20.5 },
        { n: 'current', t: -5, v: 1 },
        { n: 'current', t: -4, v: 2, bv: 0 },
      ]).readings,
    ).toEqual([
      {
        module: 'urn:dev:ow:10e2073a0108006',
        measurement: 'voltage',
        value: 120.5,
        unit: 'V',
        at: 1_276_020_076_001,
      },
      {
        module: 'urn:dev:ow:10e2073a0108006',
        measurement: 'current',
        value: 101,
        unit: 'A',
        at: 1_276_020_071_001,
      },
      {
        module: 'urn:dev:ow:10e2073a0108006',
        measurement: 'current',
        value: 2,
        unit: 'A',
        at: 1_276_020_072_001,
      },
    ]);
  });

  it.each(rfcExamples)('understands the RFC’s example: $title', ({ pack, readings }) => {
    expect(senml(pack).readings.map(({ module, ...each }) => [module, ...Object.values(each)])).toEqual(
      readings,
    );
  });

  it('adds base value and base sum to records that have none of their own', () => {
    const values = [
      { bn: 'n1/', bv: 20, bs: 100, n: 'a' },
      { n: 'b', v: 1.5 },
      { n: 'c', s: 5 },
      { n: 'd', vs: 'x' },
      { bv: 0, n: 'e', t: -1 },
    ];
    expect(valuesOf(senml(values))).toEqual({
      a: 20,
      'a.sum': 100,
      b: 21.5,
      'b.sum': 100,
      'c.sum': 105,
      d: 'x',
      e: 0,
      'e.sum': 100,
    });
  });

  it('takes times below 2**28 as relative to now', () => {
    const times = senml([
      { n: 'a', v: 1 },
      { n: 'a', v: 1, t: -10.5 },
      { n: 'a', v: 1, bt: -20, t: 30 },
    ]).readings;
    expect(times.map((each) => (each.at ?? 0) - receivedAt)).toEqual([0, -10_500, 10_000]);
  });

  it('knows all kinds of values, and sums', () => {
    const decoded = senml([
      { n: 'text', vs: 'x' },
      { n: 'flag', vb: false },
      { n: 'data', vd: 'aGk' },
      { n: 'power', u: 'W', v: 5, s: 7, bs: 100 },
      { n: 'energy', s: 1 },
    ]);
    expect(valuesOf(decoded)).toEqual({
      text: 'x',
      flag: false,
      data: 'aGk',
      power: 5,
      'power.sum': 107,
      'energy.sum': 101,
    });
    expect(decoded.readings[4]?.unit).toBe('W.s');
  });

  it.each([
    ['temp', undefined, 'temp'],
    ['room1/temp', 'room1', 'temp'],
    ['a/b/temp', 'a.b', 'temp'],
    ['/3303/0/5700', '3303.0', '5700'],
    ['urn:dev:mac:0024befffe804ff1/temp', 'urn:dev:mac:0024befffe804ff1', 'temp'],
    ['urn:dev:ow:10e2073a01080063', 'urn:dev:ow:10e2073a01080063', ''],
    ['urn:dev:ow:10e2073a01080063:', 'urn:dev:ow:10e2073a01080063', ''],
  ])('cuts the name %s', (name, module, measurement) => {
    const [reading] = senml([{ n: name, v: 1 }]).readings;
    expect([reading?.module, reading?.measurement]).toEqual([module, measurement]);
  });

  it('takes records that only set base values, and ignores what it may', () => {
    expect(
      valuesOf(
        senml([
          { bn: 'a:', 'x-extra': 1 },
          { n: 'b', v: 1, ut: 5 },
        ]),
      ),
    ).toEqual({ b: 1 });
  });

  it.each([
    [{}, 'must be a list of records'],
    [[1], 'record 0 must be a map'],
    [[{ n: 'a' }], 'record 0 has neither a value nor a sum'],
    [[{ v: 1 }], 'record 0 has no name'],
    [[{ n: 'ä', v: 1 }], 'is no SenML name'],
    [[{ n: 'a', v: 1, vb: true }], 'more than one value (v, vb)'],
    [[{ n: 'a', v: '1' }], 'record 0: v must be a finite number'],
    [[{ n: 'a', vb: 1 }], 'record 0: vb must be true or false'],
    [[{ bver: 11, n: 'a', v: 1 }], 'record 0: bver 11 must be 1 to 10, or 26'],
    [[{ bver: 0, n: 'a', v: 1 }], 'record 0: bver 0 must be'],
    [[{ bver: 1.5, n: 'a', v: 1 }], 'record 0: bver 1.5 must be'],
    [[{ n: 'a', bv: 'x' }], 'record 0: bv must be a finite number'],
    [[{ n: 'a', v: 1, ext_: 1 }], "'ext_' must be understood"],
    [[{ n: 'a', v: 1, t: 1e300 }], 'is not between the years 2000 and 9999'],
  ])('refuses %j', (records, reason) => {
    expect(() => senml(records)).toThrow(reason);
  });
});

describe('senml+cbor', () => {
  it('reads labels that are numbers', () => {
    expect(decode('senml+cbor', samples['senml+cbor']?.[0] ?? '').readings).toEqual([
      {
        module: 'urn:dev:ow:10e2073a01080063',
        measurement: 'temp',
        value: 23.1,
        unit: 'Cel',
        at: 1_276_020_076_000,
      },
      { module: 'urn:dev:ow:10e2073a01080063', measurement: 'hum', value: 40, at: 1_276_020_066_000 },
    ]);
  });

  it('understands the beginning of the RFC’s example', () => {
    const hex =
      '82a721781b75726e3a6465763a6f773a31306532303733613031303830303' +
      '63a22fb41d303a15b00106223614120050067766f6c7461676501615602fb' +
      '405e066666666666a3006763757272656e74062402fb3ff3333333333333';
    expect(decode('senml+cbor', Buffer.from(hex, 'hex')).readings).toEqual([
      { module: ow, measurement: 'voltage', value: 120.1, unit: 'V', at: 1_276_020_076_001 },
      { module: ow, measurement: 'current', value: 1.2, unit: 'A', at: 1_276_020_071_001 },
    ]);
  });

  it('refuses a label that is there as number and as text', () => {
    const record = new Map<unknown, unknown>([
      [0, 'a'],
      ['n', 'b'],
      [2, 1],
    ]);
    expect(() => decode('senml+cbor', encode([record]))).toThrow("the key 'n' occurs twice");
  });

  it('gives data as base64url', () => {
    const record = new Map<number, unknown>([
      [0, 'raw'],
      [8, Uint8Array.of(251, 255)],
    ]);
    expect(valuesOf(decode('senml+cbor', encode([record])))).toEqual({ raw: '-_8' });
  });
});

describe('csv-parity', () => {
  // 2150 has five ones, 2160 four and 2170 six: the parity bit makes the count odd.
  it('reads hundredths whose parity is odd', () => {
    expect(valuesOf(decode('csv-parity', '2150,0,2160,1,2170,1\n'))).toEqual({
      0: 21.5,
      1: 21.6,
      2: 21.7,
      replaced: 0,
    });
  });

  it('puts the mean of the neighbours in place of a bad value, and says so', () => {
    expect(valuesOf(decode('csv-parity', '2150,0,9999,0,2170,1'))).toEqual({
      0: 21.5,
      1: 21.6,
      2: 21.7,
      replaced: 1,
    });
    expect(valuesOf(decode('csv-parity', '1,1,2150,0,9999,0,9999,0,2170,1,1,1'))).toEqual({
      0: 21.5,
      1: 21.5,
      2: 21.6,
      3: 21.6,
      4: 21.7,
      5: 21.7,
      replaced: 4,
    });
  });

  it('names the values, or puts them on a line of time', () => {
    const options = { names: ['temp', 'hum'] };
    expect(valuesOf(decode('csv-parity', '-2150,0,2160,1', { options }))).toEqual({
      temp: -21.5,
      hum: 21.6,
      replaced: 0,
    });
    const { readings } = decode('csv-parity', '2150,0,2160,1', {
      options: { names: ['temp'], intervalMs: 1000 },
    });
    expect(readings).toEqual([
      { measurement: 'temp', value: 21.5, at: receivedAt - 1000 },
      { measurement: 'temp', value: 21.6, at: receivedAt },
      { measurement: 'replaced', value: 0 },
    ]);
  });

  it.each([
    [{ names: ['a', 'a'] }, "two values are called 'a'"],
    [{ names: ['1'] }, "two values are called '1'"],
    [{ names: ['a', 'replaced'] }, "two values are called 'replaced'"],
    [{ names: ['replaced'], intervalMs: 10 }, "two values are called 'replaced'"],
  ])('does not mix values up: %j', (options, reason) => {
    expect(() => decode('csv-parity', '2150,0,2160,1', { options })).toThrow(reason);
  });

  it.each([
    ['2150', 'a parity after each value'],
    ['21.5,1', 'value 0 must be a whole number'],
    ['2150,0,x,1', 'value 1 must be a whole number'],
    ['2150,2', 'the parity of value 0 must be 0 or 1'],
    ['2150,1', 'the parity of every value is wrong'],
  ])('refuses %s', (text, reason) => {
    expect(() => decode('csv-parity', text)).toThrow(reason);
  });
});

describe('status-list', () => {
  it('makes streams of channels, on and off as booleans', () => {
    expect(valuesOf(decode('status-list', samples['status-list']?.[0] ?? ''))).toEqual({
      'ch0.on': true,
      'ch0.vreq': 100,
      'ch1.on': false,
      'ch1.vreq': 0.5,
    });
  });

  it('lets the rule say how the members are called', () => {
    const options = { key: 'id', prefix: '', booleans: [], ignore: ['x'] };
    expect(valuesOf(decode('status-list', '[{"id":"a","on":1,"x":2}]', { options }))).toEqual({ 'a.on': 1 });
  });

  it.each([
    ['{"number":0}', 'must be a list of channels'],
    ['[1]', 'channel 0 must be an object'],
    ['[{"on":1}]', 'number of channel 0 must be'],
    [`[{"number":"${'x'.repeat(61)}"}]`, 'number of channel 0 must be a whole number, or a text of 1 to 60'],
    ['[{"number":0,"on":2}]', 'on of channel 0 must be 0, 1, false or true'],
    ['[{"number":0},{"number":0}]', 'channel 0 occurs twice'],
  ])('refuses %s', (text, reason) => {
    expect(() => decode('status-list', text)).toThrow(reason);
  });
});

describe('chirpstack', () => {
  const event = (value: unknown, captures: Record<string, string> = {}): Decoded =>
    decode('chirpstack', JSON.stringify(value), { captures });
  const { deviceInfo, time } = uplink;

  it('makes of an uplink what the codec made, with its time and number', () => {
    const decoded = event(uplink);
    expect(decoded).toMatchObject({ device: '0101010101010101', seq: 41 });
    expect(valuesOf(decoded)).toEqual({
      temperature: 21.5,
      'door.open': true,
      'rx.rssi': -36,
      'rx.snr': 10.5,
      'rx.gateways': 2,
    });
    expect(new Set(decoded.readings.map((each) => each.at))).toEqual(
      new Set([at('2022-07-18T09:34:15.775Z')]),
    );
  });

  it('knows the first uplink, whose number older versions leave out', () => {
    const { fCnt, ...first } = uplink;
    expect(event(first)).toMatchObject({ seq: 0 });
    expect(fCnt).toBe(41);
  });

  it('keeps the bytes when there is no codec', () => {
    const { object, ...raw } = uplink;
    expect(valuesOf(event(raw)).data).toBe('qg==');
    expect(object).toBeDefined();
  });

  it.each([
    ['AQEBAQEBAQE=', 'base64'],
    ['0101010101010101', 'hexadecimal'],
  ])('understands v3, its EUI in %s', (devEUI) => {
    const decoded = event({
      applicationID: '123',
      deviceName: 'x',
      devEUI,
      rxInfo: [{ gatewayID: 'AAAA', time: '2019-11-08T13:59:25.048445Z', rssi: -48, loRaSNR: 9 }],
      fCnt: 10,
      fPort: 5,
      data: 'AA==',
      objectJSON: '{"temperatureSensor":25}',
      tags: {},
    });
    expect(decoded).toMatchObject({ device: '0101010101010101', seq: 10 });
    expect(valuesOf(decoded)).toEqual({
      temperatureSensor: 25,
      'rx.rssi': -48,
      'rx.snr': 9,
      'rx.gateways': 1,
    });
    expect(decoded.readings[0]?.at).toBe(at('2019-11-08T13:59:25.048Z'));
  });

  it('makes readings of status, location and integration events', () => {
    const status = {
      time,
      deviceInfo,
      margin: 20,
      externalPowerSource: false,
      batteryLevelUnavailable: false,
      batteryLevel: 95.6,
    };
    expect(valuesOf(event(status))).toEqual({ battery: 95.6, margin: 20, external_power: false });
    expect(event(status)).not.toHaveProperty('seq');
    expect(valuesOf(event({ ...status, batteryLevelUnavailable: true, batteryLevel: 0 }))).not.toHaveProperty(
      'battery',
    );
    const location = {
      time,
      deviceInfo,
      location: { latitude: 1.5, longitude: 2.5, altitude: 3, source: 'X', accuracy: 4 },
    };
    expect(valuesOf(event(location))).toEqual({ latitude: 1.5, longitude: 2.5, altitude: 3, accuracy: 4 });
    expect(valuesOf(event({ time, deviceInfo, integrationName: 'x', object: { a: 1 } }))).toEqual({ a: 1 });
  });

  it.each([
    ['join', { time, deviceInfo, devAddr: '00189440' }],
    ['ack', { time, deviceInfo, queueItemId: 'x', acknowledged: true, fCntDown: 1 }],
    ['txack', { time, deviceInfo, downlinkId: 1, gatewayId: 'x', txInfo: {} }],
    ['log', { time, deviceInfo, level: 'ERROR', code: 'UPLINK_CODEC', description: 'x' }],
  ])('says that a %s event has no readings', (kind, value) => {
    expect(() => event(value)).toThrow(`a ChirpStack event '${kind}' has no readings`);
  });

  // Of v3 these have nothing that an uplink could not have.
  it.each([
    ['join', { devEUI: '0101010101010101', devAddr: '00189440', rxInfo: [{ rssi: -48 }], dr: 5, tags: {} }],
    ['txack', { devEUI: '0101010101010101', fCnt: 12, tags: {} }],
    ['log', { devEUI: '0101010101010101', type: 'OTAA', error: 'DevNonce', fCnt: 1 }],
  ])('does not take a %s of v3 for an uplink', (kind, value) => {
    expect(() => event(value)).toThrow(`a ChirpStack event '${kind}' has no readings`);
  });

  it('takes an uplink without payload for one', () => {
    const { deviceInfo: info, rxInfo, devAddr } = uplink;
    expect(event({ deviceInfo: info, time, devAddr, fCnt: 7, rxInfo })).toMatchObject({ seq: 7 });
  });

  it('reads what integrations of v3 say as a text', () => {
    const said = { devEUI: '0101010101010101', integrationName: 'x', eventType: 'y' };
    expect(valuesOf(event({ ...said, objectJSON: '{"a":1}' }))).toEqual({ a: 1 });
    expect(() => event({ ...said, objectJSON: '{' })).toThrow('objectJSON is not JSON');
  });

  it('believes the topic about which event it is', () => {
    expect(() => event(uplink, { event: 'join' })).toThrow("'join' has no readings");
    expect(() => event(uplink, { event: 'constructor' })).toThrow("'constructor' has no readings");
    expect(event(uplink, { event: 'up' }).seq).toBe(41);
  });

  it.each([
    [[], 'must be an object'],
    [{ data: 'x' }, 'devEui must be a device EUI'],
    [{ ...uplink, fCnt: -1 }, 'fCnt must be a whole number from 0 to 9007199254740991'],
    [{ ...uplink, fCnt: 2 ** 60 }, 'fCnt must be a whole number from 0 to'],
    [{ ...uplink, time: 5 }, 'time must be an RFC 3339 time'],
    [{ deviceInfo, margin: 'x' }, 'neither battery level nor margin'],
  ])('refuses %#', (value, reason) => {
    expect(() => event(value)).toThrow(reason);
  });
});

describe('auto', () => {
  it.each([
    ['application/cbor', encode({ a: 1 })],
    ['application/senml+json; charset=utf-8', Buffer.from('[{"n":"a","v":1}]')],
    ['application/senml+cbor', encode([{ n: 'a', v: 1 }])],
    ['application/json', Buffer.from('{"a":1}')],
    ['application/x-www-form-urlencoded', Buffer.from('{"a":1}')],
    ['', Buffer.from('{"a":1}')],
    [undefined, Buffer.from('{"a":1}')],
  ])('decodes %s', (contentType, payload) => {
    expect(valuesOf(decode('auto', payload, { ...(contentType !== undefined && { contentType }) }))).toEqual({
      a: 1,
    });
  });

  it('names a media type that it does not know', () => {
    expect(() => decode('auto', 'x', { contentType: 'image/png' })).toThrow("media type 'image/png'");
  });
});
