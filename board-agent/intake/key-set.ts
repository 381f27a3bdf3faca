/** A set of 8-byte keys in one flat array: a `Set` of texts takes eight times the memory. Keys only come. */

export interface KeySet {
  has(key: string): boolean;
  add(key: string): void;
  size(): number;
}

/** Bytes of a key: a text of characters up to 255. */
export const keyLength = 8;

const smallest = 1024;

export function createKeySet(): KeySet {
  /** Two words for each slot; two zeros = free. */
  let slots = new Uint32Array(2 * smallest);
  let size = 0;

  /** Of the key, or of the free slot where it would be. Linear probing: at most half of the slots are used. */
  function find(table: Uint32Array, high: number, low: number): number {
    const mask = table.length / 2 - 1;
    for (let slot = low & mask; ; slot = (slot + 1) & mask) {
      const at = 2 * slot;
      if (table[at] === high && table[at + 1] === low) return at;
      if (table[at] === 0 && table[at + 1] === 0) return at;
    }
  }

  function grow(): void {
    const larger = new Uint32Array(2 * slots.length);
    for (let at = 0; at < slots.length; at += 2) {
      const [high = 0, low = 0] = [slots[at], slots[at + 1]];
      if (high !== 0 || low !== 0) larger.set([high, low], find(larger, high, low));
    }
    slots = larger;
  }

  return {
    has(key) {
      const low = wordOf(key, 4);
      return slots[find(slots, wordOf(key, 0), low) + 1] === low;
    },
    add(key) {
      const [high, low] = [wordOf(key, 0), wordOf(key, 4)];
      const at = find(slots, high, low);
      if (slots[at + 1] === low) return;
      slots[at] = high;
      slots[at + 1] = low;
      size += 1;
      if (4 * size > slots.length) grow();
    },
    size: () => size,
  };
}

/** Never zero, so that no key looks like a free slot. */
function wordOf(key: string, at: number): number {
  const word =
    (key.charCodeAt(at) << 24) |
    (key.charCodeAt(at + 1) << 16) |
    (key.charCodeAt(at + 2) << 8) |
    key.charCodeAt(at + 3);
  return word >>> 0 || 1;
}
