/** What devices say, and whether it is what is waited for. */
import type { JsonObject } from '../../../common/runtime/guards.ts';
import type { Conditions } from './settings.ts';
import { type Filling, fillValue } from './template.ts';

/** JSON, or the text when it is none. */
export function parseSaid(payload: Uint8Array): unknown {
  const text = Buffer.from(payload).toString('utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Devices answer with plain words too.
    return text;
  }
}

/** `a.b` = member b of member a; undefined when it is not there. */
export function readField(value: unknown, path: string): unknown {
  let found = value;
  for (const name of path.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as JsonObject)[name];
  }
  return found;
}

/** The value, or of a list the item, that fits; undefined when none does. */
export function selectItem(said: unknown, select: Conditions | undefined, filling: Filling): unknown {
  if (select === undefined) return said;
  if (!Array.isArray(said)) return fits(said, select, filling) ? said : undefined;
  return said.find((each) => fits(each, select, filling));
}

export function fits(value: unknown, conditions: Conditions, filling: Filling): boolean {
  return Object.entries(conditions).every(([path, wanted]) => {
    const expected = typeof wanted === 'string' ? fillValue(wanted, filling) : wanted;
    return expected !== undefined && isSame(readField(value, path), expected);
  });
}

/** Devices write 1 for true and "100" for 100, and have their numbers rounded. */
function isSame(found: unknown, expected: unknown): boolean {
  if (found === expected) return true;
  const [left, right] = [toNumber(found), toNumber(expected)];
  if (left === undefined || right === undefined) return false;
  return Math.abs(left - right) <= 1e-6 * Math.max(1, Math.abs(right));
}

function toNumber(value: unknown): number | undefined {
  if (typeof value === 'boolean') return value ? 1 : 0;
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}
