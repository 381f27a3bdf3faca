/** Media types by their numbers in CoAP (registry "CoAP Content-Formats" of IANA). */
const numbers: Readonly<Record<string, number>> = {
  'text/plain': 0,
  'application/link-format': 40,
  'application/xml': 41,
  'application/octet-stream': 42,
  'application/json': 50,
  'application/cbor': 60,
  'application/senml+json': 110,
  'application/sensml+json': 111,
  'application/senml+cbor': 112,
  'application/sensml+cbor': 113,
  'application/vnd.oma.lwm2m+json': 11_543,
  'application/vnd.oma.lwm2m+cbor': 11_544,
};

const names = new Map(Object.entries(numbers).map(([name, number]) => [number, name]));

export const contentFormats = { text: 0, links: 40, json: 50 } as const;

/** undefined = none that decoders know. */
export const mediaTypeOf = (number: number | undefined): string | undefined =>
  number === undefined ? undefined : names.get(number);

const ofDecoders: Readonly<Record<string, number[]>> = {
  json: [50],
  cbor: [60],
  'senml+json': [110],
  'senml+cbor': [112],
  'csv-parity': [0],
  chirpstack: [50],
  'status-list': [50],
};

/** What a rule with this decoder takes, for the list of resources; empty = nobody knows. */
export const formatsOfDecoder = (decoder: string): number[] => ofDecoders[decoder] ?? [];
