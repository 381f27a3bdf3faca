/** Resident memory: of a real board agent that is joined and idle, and of every server. */
import { setTimeout as sleep } from 'node:timers/promises';
import { enrolBoard } from '../../test/harness/test-board.ts';
import type { BenchContext } from '../context.ts';
import { median } from '../measure.ts';
import { usageOf } from '../processes.ts';
import { createResult, type Result } from '../results.ts';

export async function measureAgentMemory({ stack }: BenchContext): Promise<Result[]> {
  const board = await enrolBoard(stack, { name: 'bench-agent', settings: { sources: [] } });
  await board.start();
  try {
    // What the start needed is given back in the first seconds.
    await sleep(8000);
    const samples: number[] = [];
    for (let count = 0; count < 5; count += 1) {
      samples.push(usageOf(board.pid() ?? 0).residentMegabytes);
      await sleep(500);
    }
    return [createResult({ name: 'agent.rss', unit: 'MB', value: median(samples) }, { atMost: 80 })];
  } finally {
    await board.end('SIGTERM');
  }
}

export async function measureServerMemory({ stack }: BenchContext): Promise<Result[]> {
  return stack
    .processes()
    .map(({ name, pid }) =>
      createResult({ name: `memory.${name}`, unit: 'MB', value: usageOf(pid).residentMegabytes }),
    );
}
