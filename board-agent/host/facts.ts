/** Facts about the host that travel: at enrolment, at hello, and in the procedure `info`. */
import { arch, availableParallelism, hostname, networkInterfaces, release, uptime } from 'node:os';
import type { BoardFacts, Connectivity } from '../../common/wamp/agent-procedures.ts';
import { agentVersion } from '../version.ts';
import {
  isWireless,
  readCpuModel,
  readDefaultInterface,
  readDisk,
  readLoad1,
  readMemory,
  readMounts,
  readOsName,
  readTemperature,
} from './proc.ts';

export function readBoardFacts(): BoardFacts {
  const os = readOsName();
  return { hostname: hostname(), architecture: arch(), agentVersion, ...(os !== undefined && { os }) };
}

/** How the outbound connection leaves this host, as far as it can be seen. */
export function readConnectivity(configured?: Connectivity['kind']): Connectivity {
  const name = readDefaultInterface();
  if (name === undefined) return { kind: configured ?? 'unknown' };
  const address = networkInterfaces()[name]?.find((each) => !each.internal)?.address;
  return {
    kind: configured ?? kindOf(name),
    interface: name,
    ...(address !== undefined && { localAddress: address }),
  };
}

/** systemd's naming: ww = mobile broadband, wl = WLAN, e = ethernet. */
function kindOf(name: string): Connectivity['kind'] {
  if (/^(ww|ppp|usb)/.test(name)) return 'cellular';
  if (name.startsWith('wl') || isWireless(name)) return 'wifi';
  return /^(e|br)/.test(name) ? 'ethernet' : 'unknown';
}

export function readHostInfo() {
  return {
    hostname: hostname(),
    os: readOsName() ?? null,
    kernel: release(),
    architecture: arch(),
    cpu: { model: readCpuModel() ?? null, count: availableParallelism(), load1: readLoad1() ?? null },
    memory: readMemory() ?? null,
    disks: readMounts().flatMap((mount) => readDisk(mount) ?? []),
    interfaces: Object.entries(networkInterfaces()).map(([name, addresses = []]) => ({
      name,
      mac: addresses[0]?.mac ?? null,
      addresses: addresses.map((each) => each.cidr ?? each.address),
    })),
    temperatureCelsius: readTemperature() ?? null,
    uptimeSeconds: Math.floor(uptime()),
  };
}
