/**
 * JSON: every property is a stream. An object that has `data` beside `device`, `seq`, `mac` or
 * `time` is an envelope: what it is of, and the readings in `data`. The mac covers the bytes of
 * `time` and `data` as they were sent.
 */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Decoded, DecoderInput } from '../types.ts';
import type { DecoderKind } from './decoder-kind.ts';
import { readEnvelope, type TreeOptions, treeOptionsSchema } from './envelope.ts';
import { findMembers } from './json-members.ts';
import { readJson } from './text.ts';

export const jsonDecoder: DecoderKind = { name: 'json', options: treeOptionsSchema, decode: decodeJson };

function decodeJson({ payload, options }: DecoderInput): Decoded {
  return readEnvelope(
    readJson(payload),
    options as TreeOptions & JsonObject,
    (member) => findMembers(payload).find(({ name }) => name === member)?.bytes,
  );
}
