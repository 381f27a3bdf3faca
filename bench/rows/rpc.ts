/** A call over HTTP against the same call by a bare WAMP session through the same router to the same boards. */
import type { BoardKeys } from '../boards/messages.ts';
import type { BenchContext } from '../context.ts';
import { alternate, median, quantile, rateOf, timeSequential } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const boardsCalled = 8;
const warmUpCalls = 300;

interface Calls {
  http: (index: number) => Promise<unknown>;
  raw: (index: number) => Promise<unknown>;
}

async function prepare(context: BenchContext): Promise<Calls> {
  const boards = await context.boards(boardsCalled);
  const session = await context.raw();
  const boardOf = (index: number) => (boards[index % boards.length] as BoardKeys).uuid;
  const calls: Calls = {
    http: (index) => context.callHttp(boardOf(index), 'ping'),
    raw: (index) => session.call(`boardwalk.board.${boardOf(index)}.ping`),
  };
  for (const call of [calls.http, calls.raw]) await rateOf(warmUpCalls, 4, call);
  return calls;
}

export async function measureRpcLatency(context: BenchContext): Promise<Result[]> {
  const { http, raw } = await prepare(context);
  const rounds = await alternate(
    6,
    () => timeSequential(400, () => raw(0)),
    () => timeSequential(400, () => http(0)),
  );
  const at = (share: number) => ({
    value: median(rounds.product.map((times) => quantile(times, share))),
    raw: median(rounds.raw.map((times) => quantile(times, share))),
  });
  return [
    createResult({ name: 'rpc.http.p50', unit: 'ms', ...at(0.5) }, { atMost: 2.5 }),
    createResult({ name: 'rpc.http.p99', unit: 'ms', ...at(0.99) }),
  ];
}

export async function measureRpcThroughput(context: BenchContext): Promise<Result[]> {
  const { http, raw } = await prepare(context);
  const rounds = await alternate(
    5,
    () => rateOf(4000, 32, raw),
    () => rateOf(4000, 32, http),
  );
  return [
    createResult(
      {
        name: 'rpc.http.throughput',
        unit: 'calls/s',
        value: median(rounds.product),
        raw: median(rounds.raw),
      },
      { atLeast: 0.5 },
    ),
  ];
}
