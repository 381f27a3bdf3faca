/** Files that are either the old or the new one, also after the power went: write aside, sync, rename, sync the folder. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export interface WriteOptions {
  mode: number;
  /** Without it the file survives a crash of the process but perhaps not of the machine. */
  durable: boolean;
}

export function writeFileAtomic(path: string, content: string, { mode, durable }: WriteOptions): void {
  const aside = `${path}.${process.pid}.new`;
  rmSync(aside, { force: true });
  const file = openSync(aside, 'wx', mode);
  try {
    writeSync(file, content);
    if (durable) fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
  if (durable) syncFolder(dirname(path));
}

export function removeFile(path: string): void {
  rmSync(path, { force: true });
  syncFolder(dirname(path));
}

/** What was added to or removed from the folder stays so after the power went. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
