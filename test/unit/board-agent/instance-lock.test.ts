import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { acquireLock } from '../../../board-agent/state/instance-lock.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-lock-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

it('lets one in at a time, and says who that is', () => {
  const lock = acquireLock(dir, 'agent');
  expect(() => acquireLock(dir, 'agent')).toThrow(`pid ${process.pid}`);
  lock.release();
  acquireLock(dir, 'agent').release();
});

it('holds although the note of who holds it cannot be written, as on a full disk', () => {
  mkdirSync(join(dir, 'agent.pid', 'in-the-way'), { recursive: true });
  const lock = acquireLock(dir, 'agent');
  expect(() => acquireLock(dir, 'agent')).toThrow('pid unknown');
  lock.release();
});
