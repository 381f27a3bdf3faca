import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  readCpuTimes,
  readDefaultInterface,
  readDisk,
  readMemory,
  readMounts,
  readOsName,
  readTemperature,
  readTraffic,
} from '../../../board-agent/host/proc.ts';

describe('figures from /proc and /sys', () => {
  it('counts busy and total processor time', () => {
    expect(readCpuTimes('cpu  10 1 5 80 4 0 0 0 3 0\ncpu0 1 1 1 1\n')).toEqual({ busy: 16, total: 100 });
    expect(readCpuTimes('intr 5')).toBeUndefined();
  });

  it('reads memory', () => {
    expect(readMemory('MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  250 kB\n')).toEqual({
      totalBytes: 1_024_000,
      availableBytes: 256_000,
    });
    expect(readMemory('MemTotal: 1000 kB\n')).toBeUndefined();
  });

  it('adds up the interfaces without the loopback', () => {
    const text = [
      'Inter-|   Receive |  Transmit',
      ' face |bytes packets',
      '    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0',
      '  eth0: 100 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0',
      ' wlan0:7 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0',
    ].join('\n');
    expect(readTraffic(text)).toEqual({ receivedBytes: 107, sentBytes: 13 });
  });

  it('lists each disk once, with its real mount point', () => {
    const text =
      'proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /var ext4 rw 0 0\n/dev/sdb1 /mnt/my\\040disk ext4 rw 0 0\n';
    expect(readMounts(text)).toEqual(['/', '/mnt/my disk']);
    expect(readDisk('/')?.usedPercent).toBeGreaterThan(0);
    expect(readDisk('/does/not/exist')).toBeUndefined();
  });

  it('gives the warmest plausible zone, or nothing', () => {
    const root = mkdtempSync(join(tmpdir(), 'boardwalk-thermal-'));
    for (const [index, temp] of ['45000\n', '61500\n', '0\n', '999000\n'].entries()) {
      mkdirSync(join(root, `thermal_zone${index}`));
      writeFileSync(join(root, `thermal_zone${index}`, 'temp'), temp);
    }
    expect(readTemperature(root)).toBe(61.5);
    rmSync(root, { recursive: true });
    expect(readTemperature(root)).toBeUndefined();
  });

  it('names the system and the interface of the default route', () => {
    expect(readOsName('NAME=x\nPRETTY_NAME="Debian GNU/Linux 12"\n')).toBe('Debian GNU/Linux 12');
    expect(readDefaultInterface('Iface Destination\neth1 0000FEA9 0\nwwan0 00000000 0102A8C0\n')).toBe(
      'wwan0',
    );
  });
});
