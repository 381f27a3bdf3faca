/**
 * InfluxQL of the panels, for points as the influx sink writes them: measurement = module, field =
 * measurement of the stream, tags `board` (its name), `board_id` and `module`.
 */
import type { Measurement, ModuleKind } from './kinds.ts';

/** Longer lists would make longer queries than they save. */
const modulesInPattern = 200;

const identifier = (name: string) => `"${name.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;

/** Boards by name; a sink writes those of one tenant. */
export const influxBoardsQuery = 'SHOW TAG VALUES WITH KEY = "board"';

export const influxModulesQuery = `SHOW TAG VALUES WITH KEY = "module" WHERE "board" =~ /^\${board:regex}$/`;

/** For a variable's `regex`: InfluxQL cannot ask which modules have a field. Empty = all. */
export function influxModulePattern({ modules }: ModuleKind): string {
  if (modules.length > modulesInPattern) return '';
  const names = modules.map((name) => name.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
  return `/^(${names.join('|')})$/`;
}

const from = `FROM /^\${module:regex}$/ WHERE "board" =~ /^\${board:regex}$/ AND $timeFilter`;

/** Means of numbers, the last of booleans: those have no mean. */
export function influxSeriesQuery({ name, type }: Measurement): string {
  const value = type === 'boolean' ? 'last' : 'mean';
  return `SELECT ${value}(${identifier(name)}) ${from} GROUP BY time($__interval), "board", "module" fill(none)`;
}

export function influxLastTextsQuery({ name }: Measurement): string {
  return `SELECT last(${identifier(name)}) AS "value" ${from} GROUP BY "board", "module"`;
}
