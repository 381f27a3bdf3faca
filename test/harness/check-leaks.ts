/** Loaded before each test file: fails the file when a process, socket or server outlives its tests. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll } from 'vitest';
import { findMarked } from '../../bin/stack/marked-processes.ts';
import { requireNoneLeft } from './leaks.ts';

const mark = 'BOARDWALK_TEST_FILE';
const file = randomUUID();
process.env[mark] = file;
const before = openHandles();

// Registered first, so run last: after the file's own clean-up.
afterAll(async () => {
  await requireNoneLeft(() => findMarked(mark, file), 3_000);
  await requireHandlesClosed();
});

function openHandles(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) {
    if (/^(TCP|ProcessWrap)/.test(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

async function requireHandlesClosed(): Promise<void> {
  await closeIdleFetchConnections();
  const deadline = performance.now() + 3_000;
  for (;;) {
    const left = [...openHandles()].filter(([type, count]) => count > (before.get(type) ?? 0));
    if (left.length === 0) return;
    if (performance.now() > deadline)
      throw new Error(`the tests left open: ${left.map(([type, count]) => `${count} ${type}`).join(', ')}`);
    await sleep(50);
  }
}

/** fetch keeps its connections for later calls; that is its pool, not a leak of the test. */
async function closeIdleFetchConnections(): Promise<void> {
  const key = Symbol.for('undici.globalDispatcher.1');
  const dispatcher = (globalThis as unknown as Record<symbol, { close?: () => Promise<void> } | undefined>)[
    key
  ];
  await Promise.race([dispatcher?.close?.(), sleep(1_000)]);
}
