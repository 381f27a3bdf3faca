/** A tree of named values as readings: nested objects `a.b`, lists `a.0`. */
import type { DecodedReading } from '../types.ts';
import { decoderLimits, undecodable } from './decoder-kind.ts';

/**
 * Readings of a value and what is in it; nothing for null. A lone value has the measurement ''.
 * `ignore` are names as they come out. Throws for too many, too deep, what is no value, or two of a name.
 */
export function flatten(value: unknown, ignore: readonly string[] = []): DecodedReading[] {
  const readings: DecodedReading[] = [];
  let isAmbiguous = false;
  visit(value, '', 0);
  if (isAmbiguous) checkUnique(readings);
  return readings;

  function visit(node: unknown, name: string, depth: number): void {
    if (node === null || node === undefined || ignore.includes(name)) return;
    if (typeof node === 'object') {
      if (depth === decoderLimits.depth)
        throw undecodable(`'${name.slice(0, 60)}' is nested deeper than ${decoderLimits.depth} levels`);
      for (const [key, child] of Object.entries(node)) {
        isAmbiguous ||= key === '' || key.includes('.');
        visit(child, name === '' ? key : `${name}.${key}`, depth + 1);
      }
      return;
    }
    if (readings.length === decoderLimits.readings)
      throw undecodable(`the message has more than ${decoderLimits.readings} readings`);
    if (typeof node === 'number' || typeof node === 'boolean' || typeof node === 'string')
      readings.push({ measurement: name, value: node });
    else throw undecodable(`'${name.slice(0, 60)}' is neither number, boolean nor text`);
  }
}

/** `{"a":{"b":1},"a.b":2}`: two values must not become one stream. */
function checkUnique(readings: readonly DecodedReading[]): void {
  const names = new Set<string>();
  for (const { measurement } of readings) {
    if (names.has(measurement)) throw undecodable(`two values are called '${measurement.slice(0, 60)}'`);
    names.add(measurement);
  }
}
