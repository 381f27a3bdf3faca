/**
 * One process per state folder. The lock is SQLite's lock on a file, which is the kernel's: it ends
 * with the process however that ends, so there is no stale lock to judge. Who holds it is written
 * beside it, for the message only.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AppError } from '../../common/runtime/app-error.ts';
import { writeFileAtomic } from './atomic-file.ts';

export interface InstanceLock {
  release(): void;
}

/** Throws AppError `conflict` when another process holds the lock. */
export function acquireLock(stateDir: string, name: 'agent' | 'enrol'): InstanceLock {
  const path = join(stateDir, `${name}.lock`);
  const holderPath = join(stateDir, `${name}.pid`);
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    if (!String(error).includes('locked')) throw error;
    throw new AppError('conflict', `another process (pid ${readHolder(holderPath)}) uses ${stateDir}`);
  }
  try {
    writeFileAtomic(holderPath, `${process.pid}\n`, { mode: 0o644, durable: false });
  } catch {
    // The disk is full: the lock holds without, and the agent must run then too.
  }
  return { release: () => db.close() };
}

function readHolder(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    // It has just begun, or may not be read by this user: the message says enough without.
    return 'unknown';
  }
}
