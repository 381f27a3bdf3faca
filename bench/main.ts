/**
 * `npm run bench`: what Boardwalk costs, against its bare parts in the same run, on loopback. Starts a
 * stack of its own and stops it. `BENCH_ONLY=rpc.throughput,joins` picks measurements by their names.
 */
import { messageOf } from '../common/runtime/app-error.ts';
import { type BenchContext, createContext } from './context.ts';
import { describeMachine, printTable, type Result, writeResults } from './results.ts';
import { measureCoap } from './rows/coap.ts';
import { measureCost } from './rows/cost.ts';
import { measureFanIn } from './rows/fan-in.ts';
import { measureIngest } from './rows/ingest.ts';
import { measureJoins } from './rows/joins.ts';
import { measureAgentMemory, measureServerMemory } from './rows/memory.ts';
import { measureMqtt } from './rows/mqtt.ts';
import { measureOperationThroughput, measureOperationWait, measurePlan } from './rows/operations.ts';
import { measureQueries } from './rows/queries.ts';
import { measureClaims, measureScheduleTick } from './rows/queues.ts';
import { measureRpcLatency, measureRpcThroughput } from './rows/rpc.ts';
import { measureYear } from './rows/year.ts';
import { toolVersions } from './tool-versions.ts';

/** In this order: what needs few boards before what needs many, the large table last. */
const measurements: Record<string, (context: BenchContext) => Promise<Result[]>> = {
  'agent.memory': measureAgentMemory,
  'rpc.latency': measureRpcLatency,
  'rpc.throughput': measureRpcThroughput,
  'operations.throughput': measureOperationThroughput,
  'operations.wait': measureOperationWait,
  'operations.plan': measurePlan,
  'schedules.tick': measureScheduleTick,
  'operations.claim': measureClaims,
  queries: measureQueries,
  ingest: measureIngest,
  coap: measureCoap,
  mqtt: measureMqtt,
  joins: measureJoins,
  cost: measureCost,
  fanin: measureFanIn,
  memory: measureServerMemory,
  year: measureYear,
};

const timeLimitMs = 20 * 60_000;

function chosen(): string[] {
  const names = Object.keys(measurements);
  const only = process.env.BENCH_ONLY?.split(',').map((name) => name.trim());
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    console.error(`BENCH_ONLY: there is no measurement '${unknown}'; there are ${names.join(', ')}`);
    process.exit(64);
  }
  return only ?? names;
}

async function main(): Promise<void> {
  const names = chosen();
  const machine = describeMachine(await toolVersions());
  const startedAt = performance.now();
  const seconds = () => Math.round((performance.now() - startedAt) / 1000);
  console.log('Starting a stack of its own …');
  const context = await createContext();
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= context.stop();
    return stopping;
  };
  const giveUp = (why: string) => {
    console.error(why);
    setTimeout(() => process.exit(1), 15_000).unref();
    void stop().finally(() => process.exit(1));
  };
  const limit = setTimeout(() => giveUp('the time limit of 20 minutes is over'), timeLimitMs);
  process.once('SIGINT', () => giveUp('interrupted'));
  process.once('SIGTERM', () => giveUp('interrupted'));

  const results: Result[] = [];
  for (const name of names) {
    if (stopping !== undefined) break;
    console.log(`${String(seconds()).padStart(4)} s  ${name}`);
    try {
      results.push(...((await measurements[name]?.(context)) ?? []));
    } catch (error) {
      console.error(`      ${name} failed: ${messageOf(error).slice(0, 300)}`);
      process.exitCode = 1;
    }
  }
  clearTimeout(limit);
  await stop();
  console.log(`${String(seconds()).padStart(4)} s  done\n`);
  printTable(results);
  if (process.env.BENCH_ONLY === undefined) console.log(`\n${writeResults(machine, results)}`);
}

await main();
