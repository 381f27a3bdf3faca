/** The decoders by name. */
import { autoDecoder } from './auto.ts';
import { cborDecoder } from './cbor.ts';
import { chirpstackDecoder } from './chirpstack.ts';
import { csvParityDecoder } from './csv-parity.ts';
import type { DecoderKind } from './decoder-kind.ts';
import { jsonDecoder } from './json.ts';
import { senmlCborDecoder } from './senml-cbor.ts';
import { senmlJsonDecoder } from './senml-json.ts';
import { statusListDecoder } from './status-list.ts';

export const decoderKinds: readonly DecoderKind[] = [
  jsonDecoder,
  cborDecoder,
  senmlJsonDecoder,
  senmlCborDecoder,
  csvParityDecoder,
  statusListDecoder,
  chirpstackDecoder,
  autoDecoder,
];

export function findDecoderKind(name: string): DecoderKind | undefined {
  return decoderKinds.find((each) => each.name === name);
}
