/**
 * How a bucketed query is answered: how wide its buckets are, and which source covers which part of
 * the window; pure. Coarse rollups cover what they fill entirely, finer ones the edges, raw readings
 * the rest and every hour that is dirty.
 */
import { hourMs, minuteMs, rollupLevels } from '../../common/db/queries/rollups.ts';
import type { Window } from './window.ts';

const secondMs = 1000;
const dayMs = 86_400_000;

/** Widths that a person would choose; each multiple of a minute or an hour can use rollups. */
const niceWidths = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((count) => count * secondMs),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * minuteMs),
  ...[1, 2, 3, 4, 6, 12].map((count) => count * hourMs),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].map((count) => count * dayMs),
];

/** Buckets of `widthMs` that a window touches, when they begin at multiples of their width. */
export function countBuckets({ fromAt, toAt }: Window, widthMs: number): number {
  return Math.ceil(toAt / widthMs) - Math.floor(fromAt / widthMs);
}

/** The smallest nice width with which at most `maxPoints` buckets cover the window. */
export function chooseWidth(window: Window, maxPoints: number): number {
  let widthMs = niceWidths.find((each) => countBuckets(window, each) <= maxPoints) ?? 2000 * dayMs;
  while (countBuckets(window, widthMs) > maxPoints) widthMs *= 2;
  return widthMs;
}

export interface Part extends Window {
  /** `reading_rollups.level`, or raw readings. */
  source: number | 'raw';
}

interface Level {
  level: number;
  unitMs: number;
}

/** @param dirtyHours starts of the hours whose rollups must not be used */
export function planParts(window: Window, widthMs: number, dirtyHours: readonly number[]): Part[] {
  const levels: Level[] = [
    { level: rollupLevels.hour, unitMs: hourMs },
    { level: rollupLevels.minute, unitMs: minuteMs },
  ].filter(({ unitMs }) => widthMs % unitMs === 0);
  const hours = levels.length === 0 ? [] : [...dirtyHours].sort((a, b) => a - b);
  const planned: Part[] = [];
  let at = window.fromAt;
  for (const hourAt of hours) {
    const fromAt = Math.max(hourAt, window.fromAt);
    const toAt = Math.min(hourAt + hourMs, window.toAt);
    if (fromAt >= toAt) continue;
    planned.push(...cover({ fromAt: at, toAt: fromAt }, levels), { source: 'raw', fromAt, toAt });
    at = toAt;
  }
  return join([...planned, ...cover({ fromAt: at, toAt: window.toAt }, levels)]);
}

function cover({ fromAt, toAt }: Window, [coarsest, ...finer]: readonly Level[]): Part[] {
  if (fromAt >= toAt) return [];
  if (coarsest === undefined) return [{ source: 'raw', fromAt, toAt }];
  const { level, unitMs } = coarsest;
  const first = Math.ceil(fromAt / unitMs) * unitMs;
  const last = Math.floor(toAt / unitMs) * unitMs;
  if (first >= last) return cover({ fromAt, toAt }, finer);
  return [
    ...cover({ fromAt, toAt: first }, finer),
    { source: level, fromAt: first, toAt: last },
    ...cover({ fromAt: last, toAt }, finer),
  ];
}

/** Neighbours from one source become one range to read. */
function join(parts: readonly Part[]): Part[] {
  const joined: Part[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (last?.source === part.source && last.toAt === part.fromAt) last.toAt = part.toAt;
    else joined.push({ ...part });
  }
  return joined;
}
