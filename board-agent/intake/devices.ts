/** Devices that were heard, as the intake keeps them in memory and in the spool's file. */
import type { DatabaseSync } from 'node:sqlite';
import type { ModuleReport, ModuleState, SequenceCounts } from '../../common/wamp/modules.ts';
import { prepared } from '../state/sqlite-file.ts';
import { createRate, type Rate } from './rate.ts';
import { copySequence, createSequence, type SequenceState } from './sequence.ts';

export interface Device extends SequenceCounts {
  name: string;
  /** Source that heard it last. */
  source: string;
  state: ModuleState;
  firstSeenAt: number;
  lastSeenAt: number;
  sequence: SequenceState;
  /** Not on disk; the same object in all copies. */
  rate: Rate;
}

/** `firstSeenAt` tells the server which counts these are: it never changes. */
export type NewDevice = Pick<Device, 'name' | 'source' | 'state' | 'firstSeenAt'>;

export function createDevice({ name, source, state, firstSeenAt }: NewDevice): Device {
  return {
    name,
    source,
    state,
    firstSeenAt,
    lastSeenAt: firstSeenAt,
    received: 0,
    duplicate: 0,
    missed: 0,
    late: 0,
    restarted: 0,
    badMac: 0,
    refused: 0,
    sequence: createSequence(),
    rate: createRate(),
  };
}

export const copyDevice = (device: Device): Device => ({
  ...device,
  sequence: copySequence(device.sequence),
});

export function loadDevices(db: DatabaseSync): Map<string, Device> {
  const devices = new Map<string, Device>();
  for (const row of prepared(db, 'SELECT * FROM devices').iterate()) {
    const device = createDevice({
      name: String(row.name),
      source: String(row.source),
      state: row.state as ModuleState,
      firstSeenAt: Number(row.first_seen_at),
    });
    device.lastSeenAt = Number(row.last_seen_at);
    for (const [member, column] of counted) device[member] = Number(row[column]);
    if (row.last_seq !== null) {
      device.sequence.last = Number(row.last_seq);
      device.sequence.floor = Number(row.floor_seq);
      const seen = row.seen as Uint8Array;
      new Uint8Array(device.sequence.seen.buffer).set(seen.subarray(0, device.sequence.seen.byteLength));
    }
    devices.set(device.name, device);
  }
  return devices;
}

const counted = [
  ['received', 'received'],
  ['duplicate', 'duplicate'],
  ['missed', 'missed'],
  ['late', 'late'],
  ['restarted', 'restarted'],
  ['badMac', 'bad_mac'],
  ['refused', 'refused'],
] as const;

const put = `INSERT OR REPLACE INTO devices (name, source, state, first_seen_at, last_seen_at, last_seq, floor_seq, seen,
  received, duplicate, missed, late, restarted, bad_mac, refused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** Inside a transaction. */
export function writeDevice(db: DatabaseSync, device: Device): void {
  const { sequence } = device;
  const numbered = sequence.last !== null;
  prepared(db, put).run(
    device.name,
    device.source,
    device.state,
    device.firstSeenAt,
    device.lastSeenAt,
    sequence.last,
    numbered ? sequence.floor : null,
    numbered ? new Uint8Array(sequence.seen.buffer) : null,
    ...counted.map(([member]) => device[member]),
  );
}

export function reportOf(device: Device): ModuleReport {
  return {
    name: device.name,
    source: device.source,
    state: device.state,
    firstSeenAt: device.firstSeenAt,
    lastSeenAt: device.lastSeenAt,
    lastSeq: device.sequence.last,
    ...(Object.fromEntries(counted.map(([member]) => [member, device[member]])) as unknown as SequenceCounts),
  };
}
