/**
 * HMAC-SHA256 of devices that sign: over `<device>\n<seq>\n`, in UTF-8, and the signed bytes. The keys
 * stay here: they are in no log line, no status and no support bundle.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { messageOf } from '../../common/runtime/app-error.ts';
import { moduleNameLength, moduleNamePattern } from '../../common/wamp/modules.ts';
import { readSecretFile } from '../state/secret-file.ts';

/** Of one device: while a key is changed there are two, the old and the new one. */
export type DeviceKeys = readonly Buffer[];
export type MacKeys = Map<string, DeviceKeys>;
/** A file for each key. */
export type MacKeyFiles = Readonly<Record<string, string | readonly string[]>>;

const keyBytes = { min: 16, max: 1024 } as const;

/**
 * Reads the keys of the devices: each is what its file holds, without a line feed at the end. What
 * is wrong with them is added to `faults`, in words that hold nothing of a key.
 */
export function readMacKeys(files: MacKeyFiles, faults: string[]): MacKeys {
  const keys: MacKeys = new Map();
  for (const [module, paths] of Object.entries(files)) {
    if (!moduleNamePattern.test(module) || module.length > moduleNameLength)
      faults.push(
        `macKeyFiles: '${module}' is no name of a module (${moduleNamePattern.source}, at most ${moduleNameLength})`,
      );
    const own = [paths]
      .flat()
      .map((path) => readKey(path, (fault) => faults.push(`the key of '${module}', ${path}: ${fault}`)));
    const read = own.filter((key) => key !== undefined);
    if (read.length > 0) keys.set(module, read);
  }
  return keys;
}

export function areSame(left: DeviceKeys, right: DeviceKeys): boolean {
  return left.length === right.length && left.every((key) => right.some((other) => other.equals(key)));
}

function readKey(path: string, say: (fault: string) => void): Buffer | undefined {
  try {
    const key = readSecretFile(path);
    if (key.length >= keyBytes.min && key.length <= keyBytes.max) return key;
    say(`it must have ${keyBytes.min} to ${keyBytes.max} bytes`);
  } catch (error) {
    say(messageOf(error));
  }
  return undefined;
}

export interface SignedMessage {
  device: string;
  seq: number;
  bytes: Uint8Array;
}

export function macOf(key: Uint8Array, { device, seq, bytes }: SignedMessage): Buffer {
  return createHmac('sha256', key).update(`${device}\n${seq}\n`).update(bytes).digest();
}

/** `mac` is hexadecimal or base64url, with or without `=` at its end; one of the keys has to fit. */
export function isMacRight(keys: DeviceKeys, message: SignedMessage, mac: string): boolean {
  const given = parseMac(mac);
  return given !== undefined && keys.some((key) => timingSafeEqual(given, macOf(key, message)));
}

function parseMac(mac: string): Buffer | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(mac)) return Buffer.from(mac, 'hex');
  if (/^[A-Za-z0-9_-]{43}=?$/.test(mac)) return Buffer.from(mac, 'base64url');
  return undefined;
}
