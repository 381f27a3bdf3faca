/** SenML in JSON (application/senml+json, RFC 8428 section 5). */
import { type DecoderKind, noOptions } from './decoder-kind.ts';
import { resolveSenml } from './senml.ts';
import { readJson } from './text.ts';

export const senmlJsonDecoder: DecoderKind = {
  name: 'senml+json',
  options: noOptions,
  decode: ({ payload, receivedAt }) => resolveSenml(readJson(payload), receivedAt),
};
