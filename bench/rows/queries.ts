/** Statements that the database is asked per call and per batch, what goes on anyway taken off. */
import type { BenchContext } from '../context.ts';
import { timeSequential } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const idleMs = 4000;

/** Statements per unit of `work`, which has `count` units. */
export async function questionsPer(
  context: BenchContext,
  count: number,
  work: () => Promise<unknown>,
): Promise<number> {
  const idle = await questionsDuring(context, () => new Promise((resolve) => setTimeout(resolve, idleMs)));
  const busy = await questionsDuring(context, work);
  return (busy.asked - idle.asked * (busy.ms / idle.ms)) / count;
}

async function questionsDuring(context: BenchContext, work: () => Promise<unknown>) {
  const before = await context.questions();
  const startedAt = performance.now();
  await work();
  const ms = performance.now() - startedAt;
  // The second look is a statement itself.
  return { asked: (await context.questions()) - before - 1, ms };
}

export async function measureQueries(context: BenchContext): Promise<Result[]> {
  const [board] = await context.boards(8);
  if (board === undefined) throw new Error('no board');
  const calls = 300;
  const batches = 200;
  const call = (key?: string) => context.callHttp(board.uuid, 'ping', key);
  await timeSequential(50, () => call());
  // A caller that was not there in the last half second, each time.
  const keys = await context.makeKeys(calls);
  const perCall = await questionsPer(context, calls, () =>
    timeSequential(calls, (index) => call(keys[index])),
  );
  const perRepeatedCall = await questionsPer(context, calls, () => timeSequential(calls, () => call()));
  const append = (count: number) =>
    context.boardsProcess.run({ do: 'append', batches: count, readingsPerBatch: 10 });
  await append(20);
  const perBatch = await questionsPer(context, batches, () => append(batches));
  return [
    // Two and what is done once a second: the list of agents, audit rows, signs of life.
    createResult({ name: 'queries.rpc', unit: 'queries/call', value: perCall }, { atMost: 2.5 }),
    createResult({ name: 'queries.rpc.repeated', unit: 'queries/call', value: perRepeatedCall }),
    createResult({
      name: 'queries.batch',
      unit: 'queries/batch',
      value: perBatch,
      note: 'one board alone; BEGIN and COMMIT counted',
    }),
  ];
}
