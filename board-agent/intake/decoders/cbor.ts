/** CBOR: as json, from a map. The mac covers the bytes of `time` and `data` as they were sent. */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded, DecoderInput } from '../types.ts';
import type { DecoderKind } from './decoder-kind.ts';
import { readEnvelope, type TreeOptions, treeOptionsSchema } from './envelope.ts';
import { type CborValue, readCbor, toPlain } from './read-cbor.ts';

export const cborDecoder: DecoderKind = { name: 'cbor', options: treeOptionsSchema, decode: decodeCbor };

function decodeCbor({ payload, options }: DecoderInput): Decoded {
  const read = readCbor(payload);
  return readEnvelope(toPlain(read.value), options as TreeOptions & JsonObject, (member) =>
    findMember(read, payload, member),
  );
}

function findMember(
  { value, places }: CborValue,
  payload: Uint8Array,
  member: string,
): Uint8Array | undefined {
  const index = value instanceof Map ? [...value.keys()].indexOf(member) : -1;
  return index < 0 ? undefined : payload.subarray(places[2 * index + 1], places[2 * index + 2]);
}
