/** A thousand boards, each with a batch of 10 readings a second. */
import type { BenchContext } from '../context.ts';
import { createResult, type Result } from '../results.ts';

const boards = 1000;
const readingsPerBatch = 10;

export async function measureFanIn(context: BenchContext): Promise<Result[]> {
  await context.boards(boards);
  const { fanIn } = await context.boardsProcess.run({
    do: 'fan-in',
    seconds: 20,
    warmUpSeconds: 5,
    readingsPerBatch,
  });
  if (fanIn === undefined) throw new Error('the boards gave no figures');
  const note = `${fanIn.failed} failed, ${fanIn.skipped} skipped, lag p50 ${fanIn.lagsMs.p50.toFixed(0)} ms, max ${fanIn.lagsMs.max.toFixed(0)} ms`;
  return [
    createResult(
      { name: 'readings.fanin', unit: 'batches/s', value: fanIn.batches / fanIn.seconds, note },
      // A batch that is due at the very end is answered after it.
      { atLeast: boards * 0.98 },
    ),
    createResult(
      { name: 'readings.fanin.lag', unit: 'ms', value: fanIn.lagsMs.p99, note: 'p99' },
      { atMost: 1000 },
    ),
  ];
}
