/** CBOR read strictly: bounded in depth, no key twice, nothing after the end, no unknown tags. */
import { decode, Tokenizer } from 'cborg';
import { messageOf } from '../../../common/runtime/app-error.ts';
import { decoderLimits, undecodable } from './decoder-kind.ts';

/** Maps are Maps: SenML has numbers for keys. */
export interface CborValue {
  value: unknown;
  /** Where the items directly in the outermost map or list begin, and where it ends. */
  places: number[];
}

/** Throws AppError `invalid-arguments`. */
export function readCbor(payload: Uint8Array): CborValue {
  if (payload.length === 0) throw undecodable('the payload is empty');
  const tokenizer = new BoundedTokenizer(payload, { allowBigInt: true, allowIndefinite: true });
  try {
    const value = decode(payload, {
      tokenizer,
      useMaps: true,
      rejectDuplicateMapKeys: true,
      tags: {
        // Times as text and as seconds stay what they are; decimal fractions become numbers.
        0: (item) => item(),
        1: (item) => item(),
        4: (item) => decimalFraction(item()),
      },
    });
    return { value, places: [...tokenizer.places, payload.length] };
  } catch (error) {
    throw undecodable(
      `the payload is not CBOR: ${messageOf(error).replace(/^CBOR decode error: /, '')}`,
      error,
    );
  }
}

function decimalFraction(content: unknown): number {
  const [exponent, mantissa] = Array.isArray(content) && content.length === 2 ? content : [];
  const isWhole = (value: unknown) => Number.isSafeInteger(value) || typeof value === 'bigint';
  if (!isWhole(exponent) || !isWhole(mantissa))
    throw new Error('a decimal fraction must be two whole numbers');
  return Number(`${mantissa}e${exponent}`);
}

/** The decoder calls itself for what is nested: its stack is protected here. */
class BoundedTokenizer extends Tokenizer {
  readonly places: number[] = [];
  /** Items still to come, of each list, map and tag that is open. */
  readonly #open: number[] = [];

  override next() {
    if (this.#open.length === 1) this.places.push(this.pos());
    const token = super.next();
    const { name } = token.type;
    if (name === 'break') {
      this.#open.pop();
      this.#close();
    } else if (name === 'array' || name === 'map' || name === 'tag') {
      const items = name === 'tag' ? 1 : Number(token.value) * (name === 'map' ? 2 : 1);
      if (this.#open.length > decoderLimits.depth)
        throw new Error(`it is nested deeper than ${decoderLimits.depth} levels`);
      this.#open.push(items + 1);
      this.#close();
    } else {
      this.#close();
    }
    return token;
  }

  /** One item has ended, and with it perhaps what it was the last one of. */
  #close(): void {
    while (this.#open.length > 0) {
      const left = (this.#open.pop() ?? 0) - 1;
      if (left > 0) {
        this.#open.push(left);
        return;
      }
    }
  }
}

/** As JSON would have it: maps with text keys, byte strings as base64url, large numbers rounded. */
export function toPlain(value: unknown): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, child]) => [asKey(key), toPlain(child)]));
  if (Array.isArray(value)) return value.map(toPlain);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64url');
  return typeof value === 'bigint' ? Number(value) : value;
}

function asKey(key: unknown): string {
  if (typeof key === 'string') return key;
  if (typeof key === 'number' || typeof key === 'bigint') return String(key);
  throw undecodable('keys of maps must be texts or whole numbers');
}
