/** The decoders by name. */
import type { DecoderKind } from './decoder-kind.ts';
import { jsonDecoder } from './json.ts';

export const decoderKinds: readonly DecoderKind[] = [jsonDecoder];

export function findDecoderKind(name: string): DecoderKind | undefined {
  return decoderKinds.find((each) => each.name === name);
}
