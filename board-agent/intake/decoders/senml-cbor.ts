/** SenML in CBOR (application/senml+cbor, RFC 8428 section 6): labels are numbers. */
import { type DecoderKind, noOptions } from './decoder-kind.ts';
import { readCbor, renameKeys, toPlain } from './read-cbor.ts';
import { resolveSenml } from './senml.ts';

/** RFC 8428, table 4. */
const labels = new Map<unknown, string>([
  [-1, 'bver'],
  [-2, 'bn'],
  [-3, 'bt'],
  [-4, 'bu'],
  [-5, 'bv'],
  [-6, 'bs'],
  [0, 'n'],
  [1, 'u'],
  [2, 'v'],
  [3, 'vs'],
  [4, 'vb'],
  [5, 's'],
  [6, 't'],
  [7, 'ut'],
  [8, 'vd'],
]);

export const senmlCborDecoder: DecoderKind = {
  name: 'senml+cbor',
  options: noOptions,
  decode({ payload, receivedAt }) {
    const { value } = readCbor(payload);
    return resolveSenml(Array.isArray(value) ? value.map(withLabels) : value, receivedAt);
  },
};

/** Labels that are no numbers of the table keep their names: extensions are texts. */
function withLabels(record: unknown): unknown {
  if (!(record instanceof Map)) return record;
  return toPlain(
    renameKeys(
      record,
      (label) => labels.get(label) ?? label,
      (value) => value,
    ),
  );
}
