/** The results: a table for people, a file for comparison over time. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

export interface Result {
  name: string;
  value: number;
  unit: string;
  /** The same with the raw parts, in the same run. */
  raw?: number;
  /** value / raw. */
  ratio?: number;
  /** In words: the bar that the ratio or value is held to. */
  bar?: string;
  met?: boolean;
  note?: string;
}

/** A bar on the ratio, or on the value when there is nothing raw to compare with. */
export interface Bar {
  atMost?: number;
  atLeast?: number;
}

export function createResult(input: Omit<Result, 'ratio' | 'bar' | 'met'>, bar?: Bar): Result {
  const ratio = input.raw === undefined ? undefined : input.value / input.raw;
  const judged = ratio ?? input.value;
  const unit = ratio === undefined ? ` ${input.unit}` : ' × raw';
  return {
    ...input,
    ...(ratio !== undefined && { ratio }),
    ...(bar?.atMost !== undefined && { bar: `≤ ${bar.atMost}${unit}`, met: judged <= bar.atMost }),
    ...(bar?.atLeast !== undefined && { bar: `≥ ${bar.atLeast}${unit}`, met: judged >= bar.atLeast }),
  };
}

export function describeMachine(tools: { mariadb: string; crossbar: string }) {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 1e9),
    system: `Linux ${release()} ${arch()}`,
    node: process.version,
    mariadb: tools.mariadb,
    crossbar: tools.crossbar,
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    /** A machine that does something else as well measures something else. */
    loadAtStart: loadavg()[0] ?? 0,
  };
}

const shown = (value: number | undefined) =>
  value === undefined
    ? ''
    : value >= 100
      ? value.toFixed(0)
      : value >= 1
        ? value.toFixed(2)
        : value.toPrecision(2);

export function printTable(results: readonly Result[]): void {
  const rows = results.map((each) => [
    each.name,
    shown(each.value),
    each.unit,
    shown(each.raw),
    shown(each.ratio),
    each.bar ?? '',
    each.met === undefined ? '' : each.met ? 'met' : 'NOT MET',
    each.note ?? '',
  ]);
  const head = ['name', 'value', 'unit', 'raw', 'ratio', 'bar', '', ''];
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const isNumber = (column: number) => [1, 3, 4].includes(column);
  for (const row of all) {
    const cells = row.map((cell, column) =>
      isNumber(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
    );
    console.log(cells.join('  ').trimEnd());
  }
}

/** Writes bench/results/<date>.json; gives back its path. */
export function writeResults(machine: object, results: readonly Result[]): string {
  const dir = join(import.meta.dirname, 'results');
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${new Date().toISOString().slice(0, 10)}.json`);
  writeFileSync(path, `${JSON.stringify({ machine, results }, null, 2)}\n`);
  return path;
}
