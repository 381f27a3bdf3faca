/** Rules and random courses of readings; a course that fails is found again by its seed. */
import type { AlarmCondition, Criterion } from '../../../../common/alarms/rules.ts';
import type { WatchedReading } from '../../../../common/alarms/signals.ts';

export const at0 = Date.UTC(2026, 10, 28);
export const second = 1000;

export function rule(condition: AlarmCondition, more: Partial<Criterion> = {}): Criterion {
  return { condition, forSeconds: 0, hysteresis: 0, clearForSeconds: 0, ...more };
}

export const above = (more: Partial<Criterion> = {}) => rule({ kind: 'above', threshold: 100 }, more);

/** Values one second apart. */
export function course(values: readonly (number | boolean | string)[], from = at0): WatchedReading[] {
  return values.map((value, index) => ({ at: from + index * second, value }));
}

export function createRandom(seed: number): (below: number) => number {
  let state = seed * 2_654_435_761 + 1;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return (((state ^ (state >>> 13)) >>> 0) / 2 ** 32) * below;
  };
}

/** Values wander around the threshold of 100; times are some seconds apart, never equal. */
export function randomCourse(random: (below: number) => number, length: number): WatchedReading[] {
  let at = at0;
  let value = 95;
  return Array.from({ length }, () => {
    at += 1 + Math.floor(random(5 * second));
    value = Math.min(112, Math.max(88, value + random(10) - 5));
    return { at, value: Math.round(value) };
  });
}

export function shuffle<T>(items: readonly T[], random: (below: number) => number): T[] {
  const list = [...items];
  for (let index = list.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random(index + 1));
    [list[index], list[other]] = [list[other] as T, list[index] as T];
  }
  return list;
}

/** In pieces of random sizes. */
export function divide<T>(items: readonly T[], random: (below: number) => number, most = 6): T[][] {
  const pieces: T[][] = [];
  for (let from = 0; from < items.length; ) {
    const size = 1 + Math.floor(random(most));
    pieces.push(items.slice(from, from + size));
    from += size;
  }
  return pieces;
}
