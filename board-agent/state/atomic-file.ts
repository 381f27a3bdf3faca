/** Files that are either the old or the new one, also after the power went: write aside, sync, rename, sync the folder. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface WriteOptions {
  mode: number;
  /** Without it the file survives a crash of the process but perhaps not of the machine. */
  durable: boolean;
}

/** Throws what the file system throws; the old file is as it was then, and nothing is left beside it. */
export function writeFileAtomic(path: string, content: string, { mode, durable }: WriteOptions): void {
  const aside = `${path}.${process.pid}.new`;
  rmSync(aside, { force: true });
  try {
    writeNewFile(aside, content, { mode, durable });
    renameSync(aside, path);
  } catch (error) {
    // On a full disk its room is needed.
    rmSync(aside, { force: true });
    throw error;
  }
  if (durable) syncFolder(dirname(path));
}

function writeNewFile(path: string, content: string, { mode, durable }: WriteOptions): void {
  const file = openSync(path, 'wx', mode);
  try {
    // A single write takes what there is room for, and calls it a success.
    writeFileSync(file, content);
    if (durable) fsyncSync(file);
  } finally {
    closeSync(file);
  }
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
