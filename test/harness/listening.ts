/** Which TCP addresses processes listen on, read from /proc: needs no tool and misses no port. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** `address:port` of every listening TCP socket of the processes. */
export function listeningAddresses(pids: readonly number[]): string[] {
  const inodes = new Set(pids.flatMap(socketInodes));
  return [...readTable('tcp'), ...readTable('tcp6')]
    .filter(({ inode }) => inodes.has(inode))
    .map(({ address }) => address);
}

function socketInodes(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

/** proc_pid_net(5): one socket a line; state 0A is LISTEN, the tenth field the inode. */
function readTable(name: 'tcp' | 'tcp6'): { address: string; inode: string }[] {
  return readFileSync(`/proc/net/${name}`, 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A')
    .map((fields) => ({ address: formatAddress(fields[1] ?? ''), inode: fields[9] ?? '' }));
}

/** `0100007F:1F90` is 127.0.0.1:8080: the address in host byte order, the port in network order. */
function formatAddress(hex: string): string {
  const [address = '', port = ''] = hex.split(':');
  const shown = address.length === 8 ? [...Buffer.from(address, 'hex')].reverse().join('.') : `[${address}]`;
  return `${shown}:${Number.parseInt(port, 16)}`;
}
