/** Figures that Linux keeps in /proc and /sys, parsed. Every reader gives undefined when a host has no such figure. */
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Not every host or container has every file.
    return undefined;
  }
}

export interface CpuTimes {
  busy: number;
  total: number;
}

/** Ticks of all processors since boot. */
export function readCpuTimes(text = readText('/proc/stat')): CpuTimes | undefined {
  const line = text?.split('\n', 1)[0];
  if (line === undefined || !line.startsWith('cpu ')) return undefined;
  // user nice system idle iowait irq softirq steal; guest times are inside user already.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, each) => sum + each, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return { busy: total - idle, total };
}

export interface Memory {
  totalBytes: number;
  availableBytes: number;
}

export function readMemory(text = readText('/proc/meminfo')): Memory | undefined {
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text ?? '')?.[1]);
  const total = kilobytes('MemTotal');
  const available = kilobytes('MemAvailable');
  if (!Number.isFinite(total) || !Number.isFinite(available)) return undefined;
  return { totalBytes: total * 1024, availableBytes: available * 1024 };
}

export interface Traffic {
  receivedBytes: number;
  sentBytes: number;
}

/** Bytes over all interfaces except the loopback since boot. */
export function readTraffic(text = readText('/proc/net/dev')): Traffic | undefined {
  if (text === undefined) return undefined;
  const traffic = { receivedBytes: 0, sentBytes: 0 };
  for (const line of text.split('\n')) {
    const match = /^\s*([^:\s]+):\s*(.*)$/.exec(line);
    if (!match || match[1] === 'lo') continue;
    const fields = (match[2] ?? '').trim().split(/\s+/).map(Number);
    traffic.receivedBytes += fields[0] ?? 0;
    traffic.sentBytes += fields[8] ?? 0;
  }
  return traffic;
}

export interface DiskUse {
  mount: string;
  totalBytes: number;
  availableBytes: number;
  /** As df counts: of what users can have at all. */
  usedPercent: number;
}

export function readDisk(mount: string): DiskUse | undefined {
  try {
    const { blocks, bfree, bavail, bsize } = statfsSync(mount);
    const used = blocks - bfree;
    return {
      mount,
      totalBytes: blocks * bsize,
      availableBytes: bavail * bsize,
      usedPercent: used + bavail === 0 ? 0 : (used / (used + bavail)) * 100,
    };
  } catch {
    // Not mounted (any more).
    return undefined;
  }
}

/** Mount points of real disks, each device once. */
export function readMounts(text = readText('/proc/mounts')): string[] {
  const mounts = new Map<string, string>();
  for (const line of text?.split('\n') ?? []) {
    const [device = '', mount = ''] = line.split(' ');
    if (device.startsWith('/dev/') && !mounts.has(device)) mounts.set(device, unescapeMount(mount));
  }
  return mounts.size > 0 ? [...mounts.values()] : ['/'];
}

/** proc(5): blanks and backslashes are octal there. */
function unescapeMount(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_all, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** Degrees Celsius of the warmest thermal zone. */
export function readTemperature(root = '/sys/class/thermal'): number | undefined {
  let zones: string[];
  try {
    zones = readdirSync(root).filter((name) => name.startsWith('thermal_zone'));
  } catch {
    return undefined;
  }
  const degrees = zones
    .map((zone) => Number(readText(join(root, zone, 'temp')) ?? Number.NaN) / 1000)
    // Sensors without a value say 0 or absurdities.
    .filter((each) => Number.isFinite(each) && each !== 0 && each > -60 && each < 200);
  return degrees.length > 0 ? Math.max(...degrees) : undefined;
}

export function readLoad1(text = readText('/proc/loadavg')): number | undefined {
  const load = Number.parseFloat(text ?? '');
  return Number.isFinite(load) ? load : undefined;
}

/** PRETTY_NAME of os-release(5). */
export function readOsName(text = readText('/etc/os-release')): string | undefined {
  return /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text ?? '')?.[1];
}

export function readCpuModel(text = readText('/proc/cpuinfo')): string | undefined {
  return /^(?:model name|Model|Hardware)\s*:\s*(.+)$/m.exec(text ?? '')?.[1]?.trim();
}

/** The interface of the default route. */
export function readDefaultInterface(text = readText('/proc/net/route')): string | undefined {
  for (const line of text?.split('\n').slice(1) ?? []) {
    const [name, destination] = line.split(/\s+/);
    if (destination === '00000000') return name;
  }
  return undefined;
}

/** Whether a network interface is a radio of its own kind, by what the kernel shows for it. */
export function isWireless(name: string): boolean {
  return readText(`/sys/class/net/${name}/uevent`)?.includes('DEVTYPE=wlan') ?? false;
}
