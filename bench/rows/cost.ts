/** Whether a board costs the same among a hundred and among a thousand. */
import type { BoardKeys } from '../boards/messages.ts';
import type { BenchContext } from '../context.ts';
import { rateOf } from '../measure.ts';
import { usageOf } from '../processes.ts';
import { createResult, type Result } from '../results.ts';
import { questionsPer } from './queries.ts';

const few = 100;
const many = 1000;
const calls = 3000;
const servers = ['crossbar', 'api', 'wamp-agent', 'mariadb'] as const;

interface Cost {
  /** Milliseconds of CPU of all servers together. */
  cpuPerCall: number;
  queriesPerCall: number;
}

export async function measureCost(context: BenchContext): Promise<Result[]> {
  const routerMemory = () => usageOf(context.pid('crossbar')).residentMegabytes;
  await context.boards(0);
  const empty = routerMemory();
  const atFew = await measureCalls(context, few);
  const memoryFew = routerMemory();
  const atMany = await measureCalls(context, many);
  const memoryMany = routerMemory();
  const kilobytesPerBoard = ((memoryMany - memoryFew) / (many - few)) * 1024;
  const compared = { raw: 0, note: `raw: at ${few} boards` };
  return [
    createResult(
      {
        ...compared,
        name: 'boards.cost.cpu',
        unit: 'ms/call',
        value: atMany.cpuPerCall,
        raw: atFew.cpuPerCall,
      },
      { atMost: 1.2 },
    ),
    createResult({
      name: 'boards.cost.memory',
      unit: 'KB/board',
      value: kilobytesPerBoard,
      note: `router, from ${few} to ${many} boards; empty ${empty.toFixed(0)} MB`,
    }),
    createResult(
      {
        ...compared,
        name: 'boards.cost.queries',
        unit: 'queries/call',
        value: atMany.queriesPerCall,
        raw: atFew.queriesPerCall,
      },
      { atMost: 1.2 },
    ),
  ];
}

async function measureCalls(context: BenchContext, count: number): Promise<Cost> {
  const boards = await context.boards(count);
  const call = (index: number) => context.callHttp((boards[index % count] as BoardKeys).uuid, 'ping');
  await rateOf(count, 8, call);
  const cpu = () => servers.reduce((sum, name) => sum + usageOf(context.pid(name)).cpuSeconds, 0);
  // Heartbeats of the boards cost something as well, calls or not.
  const idle = await during(cpu, () => new Promise((resolve) => setTimeout(resolve, 5000)));
  const busy = await during(cpu, () => rateOf(calls, 8, call));
  const keys = await context.makeKeys(300);
  const cpuSeconds = busy.used - idle.used * (busy.ms / idle.ms);
  return {
    cpuPerCall: (cpuSeconds / calls) * 1000,
    // By callers that were not there before: what is remembered for half a second must not count here.
    queriesPerCall: await questionsPer(context, keys.length, () =>
      rateOf(keys.length, 8, (index) =>
        context.callHttp((boards[index % count] as BoardKeys).uuid, 'ping', keys[index]),
      ),
    ),
  };
}

async function during(read: () => number, work: () => Promise<unknown>) {
  const before = read();
  const startedAt = performance.now();
  await work();
  return { used: read() - before, ms: performance.now() - startedAt };
}
