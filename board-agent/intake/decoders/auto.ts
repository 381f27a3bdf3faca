/** By the media type that the transport gives with a message (CoAP, HTTP, MQTT 5); json where it gives none. */
import type { DecoderInput } from '../types.ts';
import { cborDecoder } from './cbor.ts';
import { type DecoderKind, undecodable } from './decoder-kind.ts';
import { treeOptionsSchema } from './envelope.ts';
import { jsonDecoder } from './json.ts';
import { senmlCborDecoder } from './senml-cbor.ts';
import { senmlJsonDecoder } from './senml-json.ts';

const byType: ReadonlyMap<string, DecoderKind> = new Map([
  ['application/json', jsonDecoder],
  ['text/plain', jsonDecoder],
  ['application/octet-stream', jsonDecoder],
  // What curl says of any text.
  ['application/x-www-form-urlencoded', jsonDecoder],
  ['application/cbor', cborDecoder],
  ['application/senml+json', senmlJsonDecoder],
  ['application/senml+cbor', senmlCborDecoder],
]);

export const autoDecoder: DecoderKind = {
  name: 'auto',
  options: treeOptionsSchema,
  decode(input: DecoderInput) {
    const type = (input.contentType || 'application/json').split(';')[0]?.trim().toLowerCase() ?? '';
    const kind = byType.get(type);
    if (!kind) throw undecodable(`there is no decoder for the media type '${type.slice(0, 60)}'`);
    return kind.decode(input);
  },
};
