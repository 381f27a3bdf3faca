/**
 * Devices behind a gateway, whatever carries their messages: they are let in before they speak, each
 * numbers its messages from where it stopped the last time, and what the server has stored is the
 * growth of its streams.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { type Api, listStreams } from './api.ts';
import { forEachLimited, inFlightLimit, type Load, type LoadCounts } from './load.ts';

export interface Message {
  device: string;
  seq: number;
  payload: Buffer;
}

/** acknowledged; refused for good; or not yet, and to be tried again. */
export type Delivery =
  | { status: 'acknowledged' }
  | { status: 'refused' | 'unavailable'; detail: string; retryAfterMs?: number };

export interface Transport {
  /** Resolves when the other side has answered, or has not for long. Never rejects. */
  deliver(device: number, message: Message): Promise<Delivery>;
  close(): Promise<void>;
}

export interface GatewayLoadOptions {
  api: Api;
  /** The board that hears the devices. */
  board: string;
  devices: number;
  /** Devices are `<prefix>-1`, `<prefix>-2`, … */
  prefix: string;
  signal: AbortSignal;
  say: (line: string) => void;
}

interface Device {
  name: string;
  nextSeq: number;
  sent: number;
  acknowledged: number;
  refused: number;
  /** Stored readings before this run. */
  before: number;
  stored: number;
}

const atATime = 8;

export async function createGatewayLoad(
  options: GatewayLoadOptions,
  connect: (devices: readonly string[]) => Promise<Transport>,
): Promise<Load> {
  const { api, board } = options;
  const devices = await prepareDevices(options);
  const transport = await connect(devices.map((each) => each.name));
  const counts: LoadCounts = { sent: 0, acknowledged: 0, refused: 0, unavailable: 0 };
  const reasons = new Map<string, number>();
  const stop = new AbortController();
  let underWay = 0;

  async function deliver(index: number, device: Device, message: Message): Promise<void> {
    underWay += 1;
    while (!stop.signal.aborted) {
      const delivery = await transport.deliver(index, message);
      if (delivery.status === 'acknowledged') {
        device.acknowledged += 1;
        counts.acknowledged += 1;
        break;
      }
      reasons.set(delivery.detail, (reasons.get(delivery.detail) ?? 0) + 1);
      if (delivery.status === 'refused') {
        device.refused += 1;
        counts.refused += 1;
        break;
      }
      counts.unavailable += 1;
      // Aborted: the next turn of the loop sees it.
      await sleep(delivery.retryAfterMs ?? 1000, undefined, { signal: stop.signal }).catch(() => undefined);
    }
    underWay -= 1;
  }

  return {
    devices: devices.length,
    counts: () => ({ ...counts }),
    send(index) {
      const device = devices[index];
      if (!device) return;
      const seq = device.nextSeq;
      device.nextSeq += 1;
      device.sent += 1;
      counts.sent += 1;
      const payload = Buffer.from(JSON.stringify({ device: device.name, seq, data: { value: seq } }));
      void deliver(index, device, { device: device.name, seq, payload });
    },
    hasRoom: () => underWay < inFlightLimit,
    async drain(until) {
      while (underWay > 0 && !until.aborted) await sleep(50);
      stop.abort();
    },
    async countStored() {
      const streams = await listStreams(api, board);
      for (const device of devices)
        device.stored = (streams.get(`${device.name}/value`)?.count ?? 0) - device.before;
      return devices.reduce((total, each) => total + each.stored, 0);
    },
    async findDifferences() {
      const modules = await listModules(api, board);
      const lines = devices
        .filter((each) => each.sent !== each.acknowledged || each.sent !== each.stored)
        .map((each) => describe(each, modules.get(each.name)));
      return [...lines, ...[...reasons].slice(0, 20).map(([reason, times]) => `${times} × ${reason}`)];
    },
    async close() {
      stop.abort();
      await transport.close();
    },
  };
}

function describe(device: Device, module: JsonObject | undefined): string {
  const { name, sent, acknowledged, stored, refused } = device;
  const sequence = (module?.sequence ?? {}) as JsonObject;
  const known = ['received', 'duplicate', 'missed', 'late', 'restarted', 'refused']
    .filter((each) => sequence[each] !== undefined)
    .map((each) => `${each} ${sequence[each]}`);
  const server = module
    ? `; the server: ${module.state}, ${known.join(', ')}`
    : '; the server does not know it';
  return `${name}: sent ${sent}, acknowledged ${acknowledged}, refused ${refused}, stored ${stored}${server}`;
}

async function listModules(api: Api, board: string): Promise<Map<string, JsonObject>> {
  const modules = await api.list(`/v1/boards/${encodeURIComponent(board)}/modules`);
  return new Map(modules.map((each) => [String(each.name), each]));
}

/** Lets in those that are not known: what a policy or a limit would hold back says nothing about the way. */
async function prepareDevices({ api, board, devices, prefix, say }: GatewayLoadOptions): Promise<Device[]> {
  const names = Array.from({ length: devices }, (_, index) => `${prefix}-${index + 1}`);
  const [modules, streams] = await Promise.all([listModules(api, board), listStreams(api, board)]);
  const shut = names.find((name) => modules.has(name) && modules.get(name)?.state !== 'accepted');
  if (shut !== undefined)
    throw new AppError(
      'conflict',
      `the module '${shut}' is ${String(modules.get(shut)?.state)}: accept it first`,
    );
  const unknown = names.filter((name) => !modules.has(name));
  if (unknown.length > 0) say(`letting in ${unknown.length} devices`);
  await forEachLimited(unknown, atATime, async (name) => {
    await api.request('POST', `/v1/boards/${encodeURIComponent(board)}/modules`, { name, kind: 'simulated' });
  });
  return names.map((name) => {
    const { lastSeq } = (modules.get(name)?.sequence ?? {}) as { lastSeq?: number | null };
    // The value is the number: what is stored is newer than the module's last report.
    const { count = 0, lastValue } = streams.get(`${name}/value`) ?? {};
    const last = Math.max(lastSeq ?? -1, typeof lastValue === 'number' ? lastValue : -1);
    return { name, nextSeq: last + 1, sent: 0, acknowledged: 0, refused: 0, before: count, stored: 0 };
  });
}
