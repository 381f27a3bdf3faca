/** One message through one decoder, with the defaults of its options. */
import type { DecoderKind } from '../../../../board-agent/intake/decoders/decoder-kind.ts';
import { decoderKinds } from '../../../../board-agent/intake/decoders/decoders.ts';
import type { Decoded, DecoderInput } from '../../../../board-agent/intake/types.ts';
import { withDefaults } from '../../../../board-agent/schema-defaults.ts';
import type { JsonObject } from '../../../../common/runtime/guards.ts';

export const receivedAt = Date.UTC(2026, 10, 28, 10);

export function kindNamed(name: string): DecoderKind {
  const kind = decoderKinds.find((each) => each.name === name);
  if (!kind) throw new Error(`there is no decoder ${name}`);
  return kind;
}

export function decode(
  name: string,
  payload: string | Uint8Array,
  more: Partial<Omit<DecoderInput, 'payload'>> = {},
): Decoded {
  const kind = kindNamed(name);
  return kind.decode({
    path: 'r',
    captures: {},
    receivedAt,
    ...more,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    options: withDefaults(kind.options, more.options ?? {}) as JsonObject,
  });
}

/** Measurement → value. */
export function valuesOf({ readings }: Decoded): Record<string, unknown> {
  return Object.fromEntries(readings.map(({ measurement, value }) => [measurement, value]));
}
