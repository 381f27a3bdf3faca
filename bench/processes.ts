/** What processes use, from /proc (proc(5)): a process counts together with its children, as Crossbar's workers do. */
import { readdirSync, readFileSync } from 'node:fs';

const ticksPerSecond = 100;
const pageBytes = 4096;

interface Stat {
  pid: number;
  parent: number;
  cpuSeconds: number;
  residentBytes: number;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold spaces.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return {
      pid,
      parent: Number(fields[1]),
      cpuSeconds: ticks / ticksPerSecond,
      residentBytes: Number(fields[21]) * pageBytes,
    };
  } catch {
    // Ended meanwhile.
    return undefined;
  }
}

/** Of a process and all below it. */
export function usageOf(pid: number): { cpuSeconds: number; residentMegabytes: number } {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((stat) => stat !== undefined);
  const family = new Set([pid]);
  for (let grew = true; grew; ) {
    const found = stats.filter((stat) => family.has(stat.parent) && !family.has(stat.pid));
    for (const stat of found) family.add(stat.pid);
    grew = found.length > 0;
  }
  const members = stats.filter((stat) => family.has(stat.pid));
  return {
    cpuSeconds: members.reduce((sum, stat) => sum + stat.cpuSeconds, 0),
    residentMegabytes: members.reduce((sum, stat) => sum + stat.residentBytes, 0) / 1_048_576,
  };
}
