/** Good inputs of each decoder: the contract of decoders is tested on them and on what is made of them. */
import { encode } from 'cborg';

export const uplink = {
  deduplicationId: '3ac7e3c4-4401-4b8d-9386-a5c902f9202d',
  time: '2022-07-18T09:34:15.775023242+00:00',
  deviceInfo: {
    tenantId: '52f14cd4-c6f1-4fbd-8f87-4025e1d49242',
    tenantName: 'ChirpStack',
    applicationId: '17c82e96-be03-4f38-aef3-f83d48582d97',
    applicationName: 'Test application',
    deviceProfileId: '14855bf7-d10d-4aee-b618-ebfcb64dc7ad',
    deviceProfileName: 'Test device-profile',
    deviceName: 'Test device',
    devEui: '0101010101010101',
    tags: { key: 'value' },
  },
  devAddr: '00189440',
  adr: true,
  dr: 1,
  fCnt: 41,
  fPort: 1,
  confirmed: false,
  data: 'qg==',
  object: { temperature: 21.5, door: { open: true } },
  rxInfo: [
    { gatewayId: '0016c001f153a14c', uplinkId: 4217106255, rssi: -86, snr: 7.2, crcStatus: 'CRC_OK' },
    { gatewayId: '0016c001f153a14d', uplinkId: 4217106256, rssi: -36, snr: 10.5, crcStatus: 'CRC_OK' },
  ],
  txInfo: { frequency: 867100000, modulation: { lora: { bandwidth: 125000, spreadingFactor: 11 } } },
};

const senmlCborLabels = new Map<number, unknown>([
  [-2, 'urn:dev:ow:10e2073a01080063:'],
  [-3, 1_276_020_076],
  [0, 'temp'],
  [1, 'Cel'],
  [2, 23.1],
]);

export const samples: Record<string, (string | Uint8Array)[]> = {
  json: [
    '{"device":"n1","seq":5,"mac":"00","time":"2026-11-28T10:00:00Z","data":{"temp":21.5,"a":[1,{"b":"x"}]}}',
    '{"temp":21.5}',
    '7',
  ],
  cbor: [
    encode({ device: 'n1', seq: 5, data: { temp: 21.5, on: true, raw: Uint8Array.of(1, 2) }, mac: 'ab' }),
    encode([1, 2.5]),
  ],
  'senml+json': [
    '[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1276020076.001,"bu":"A","bver":10,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"ok","vb":true},{"n":"sum","s":5}]',
  ],
  'senml+cbor': [
    encode([
      senmlCborLabels,
      new Map<number, unknown>([
        [0, 'hum'],
        [2, 40],
        [6, -10],
      ]),
    ]),
  ],
  'csv-parity': ['2150,0,2160,1,2170,1'],
  'status-list': ['[{"number":0,"on":1,"vreq":100},{"number":1,"on":0,"vreq":0.5}]'],
  chirpstack: [JSON.stringify(uplink)],
  auto: ['{"temp":21.5}'],
};
