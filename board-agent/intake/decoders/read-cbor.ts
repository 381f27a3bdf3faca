/**
 * CBOR read strictly: bounded in depth, no key twice, nothing after the end, no unknown tags. The
 * library is loaded with the first message: most agents never hear one.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../../../common/runtime/app-error.ts';
import { decoderLimits, undecodable } from './decoder-kind.ts';

type Cborg = typeof import('cborg');

/** Maps are Maps: SenML has numbers for keys. */
export interface CborValue {
  value: unknown;
  /** Where the items directly in the outermost map or list begin, and where it ends. */
  places: number[];
}

const load = createRequire(import.meta.url);
let read: ((payload: Uint8Array) => CborValue) | undefined;

/** Throws AppError `invalid-arguments`. */
export function readCbor(payload: Uint8Array): CborValue {
  if (payload.length === 0) throw undecodable('the payload is empty');
  // Decoders never wait, and the package knows of `import` only: hence its file.
  read ??= createReader(load(fileURLToPath(import.meta.resolve('cborg'))) as Cborg);
  try {
    return read(payload);
  } catch (error) {
    throw undecodable(
      `the payload is not CBOR: ${messageOf(error).replace(/^CBOR decode error: /, '')}`,
      error,
    );
  }
}

function createReader({ decode, Tokenizer }: Cborg): (payload: Uint8Array) => CborValue {
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

  return (payload) => {
    const tokenizer = new BoundedTokenizer(payload, { allowBigInt: true, allowIndefinite: true });
    const value: unknown = decode(payload, {
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
  };
}

function decimalFraction(content: unknown): number {
  const [exponent, mantissa] = Array.isArray(content) && content.length === 2 ? content : [];
  const isWhole = (value: unknown) => Number.isSafeInteger(value) || typeof value === 'bigint';
  if (!isWhole(exponent) || !isWhole(mantissa))
    throw new Error('a decimal fraction must be two whole numbers');
  return Number(`${mantissa}e${exponent}`);
}

/** As JSON would have it: maps with text keys, byte strings as base64url, large numbers rounded. */
export function toPlain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(renameKeys(value, asKey, toPlain));
  if (Array.isArray(value)) return value.map(toPlain);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64url');
  return typeof value === 'bigint' ? Number(value) : value;
}

/** Throws when two keys become one, as 1 and "1" do: which one is meant? */
export function renameKeys<K, V>(
  map: ReadonlyMap<unknown, unknown>,
  toKey: (key: unknown) => K,
  toValue: (value: unknown) => V,
): Map<K, V> {
  const renamed = new Map<K, V>();
  for (const [key, value] of map) {
    const name = toKey(key);
    if (renamed.has(name)) throw undecodable(`the key '${String(name).slice(0, 60)}' occurs twice`);
    renamed.set(name, toValue(value));
  }
  return renamed;
}

function asKey(key: unknown): string {
  if (typeof key === 'string') return key;
  if (typeof key === 'number' || typeof key === 'bigint') return String(key);
  throw undecodable('keys of maps must be texts or whole numbers');
}
