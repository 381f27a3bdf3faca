/** What a transaction changes of the devices. */
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';
import { copyDevice, createDevice, type Device, type NewDevice, writeDevice } from './devices.ts';
import type { IntakeState } from './state.ts';

export interface DevicesDraft {
  findDevice(name: string): Readonly<Device> | undefined;
  /** A device to change. */
  editDevice(name: string): Device | undefined;
  createDevice(device: NewDevice): Device;
  /** As if nobody had ever heard of it. */
  forgetDevice(name: string): void;
  deviceNames(): string[];
  /** Devices that came in by policy within the last minute. */
  createdLately(): number;
  /** Seconds until the device may send one more; 0 = now. */
  waitSeconds(device: Readonly<Device>, maxPerSecond: number): number;
  noteRate(device: Readonly<Device>): void;
  write(db: DatabaseSync): void;
  /** Answers with the devices that changed, and how many were not known before. */
  adopt(): { devices: string[]; created: number };
}

const minuteMs = 60_000;

export function createDevicesDraft(state: IntakeState, nowMs: number): DevicesDraft {
  /** undefined = forgotten. */
  const changed = new Map<string, Device | undefined>();
  const rated = new Map<Device['rate'], number>();
  let created = 0;

  const findDevice = (name: string) => (changed.has(name) ? changed.get(name) : state.devices.get(name));
  const isLate = (at: number) => at > nowMs - minuteMs;

  return {
    findDevice,
    editDevice(name) {
      const known = findDevice(name);
      if (!known || changed.has(name)) return known;
      const copy = copyDevice(known);
      changed.set(name, copy);
      return copy;
    },
    createDevice(newDevice) {
      const device = createDevice(newDevice);
      changed.set(device.name, device);
      created += 1;
      return device;
    },
    forgetDevice: (name) => void changed.set(name, undefined),
    deviceNames: () => [...new Set([...state.devices.keys(), ...changed.keys()])].filter(findDevice),
    createdLately: () => state.createdAtMs.filter(isLate).length + created,
    waitSeconds: ({ rate }, maxPerSecond) => rate.waitSeconds(nowMs, maxPerSecond, rated.get(rate) ?? 0),
    noteRate: ({ rate }) => void rated.set(rate, (rated.get(rate) ?? 0) + 1),
    write(db) {
      for (const [name, device] of changed) {
        if (device) writeDevice(db, device);
        else prepared(db, 'DELETE FROM devices WHERE name = ?').run(name);
      }
    },
    adopt() {
      for (const [name, device] of changed) {
        if (device) state.devices.set(name, device);
        else state.devices.delete(name);
      }
      for (const [rate, messages] of rated) rate.count(nowMs, messages);
      state.createdAtMs = state.createdAtMs.filter(isLate);
      for (let each = 0; each < created; each += 1) state.createdAtMs.push(nowMs);
      return { devices: [...changed.keys()], created };
    },
  };
}
