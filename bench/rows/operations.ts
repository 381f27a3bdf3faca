/** Operations through the engine, created → succeeded, against raw RPCs at the same concurrency to the same boards. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RowDataPacket } from 'mysql2/promise';
import {
  type BoardsProcess,
  createBoardsProcess,
  type ManyBoard,
  makeBoards,
} from '../../test/harness/many-boards/boards.ts';
import { until } from '../../test/harness/until.ts';
import type { BenchContext } from '../context.ts';
import { alternate, median, quantile, rateOf, timeSequential } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const boardCount = 64;
const width = 32;
const perRound = 1000;

interface Fleet {
  boards: ManyBoard[];
  host: BoardsProcess;
}

/** Real agents with their journals; each measurement has its own and ends them. */
async function withFleet<T>(context: BenchContext, work: (fleet: Fleet) => Promise<T>): Promise<T> {
  const boards = await makeBoards(
    context.stack,
    context.database,
    await context.tenantId(),
    boardCount,
    () => ({
      bench: 'operations',
    }),
  );
  const host = createBoardsProcess(boards);
  try {
    await host.start();
    await until('the boards are online', async () => (await host.online()) === boardCount, {
      timeoutMs: 60_000,
    });
    return await work({ boards, host });
  } finally {
    await host.stop();
    await context.database.query('DELETE FROM board_labels WHERE label_key = ?', ['bench']);
  }
}

export function measureOperationThroughput(context: BenchContext): Promise<Result[]> {
  return withFleet(context, async ({ boards }) => {
    const session = await context.raw();
    const boardOf = (index: number) => boards[index % boardCount] as ManyBoard;
    const raw = (index: number) => session.call(`boardwalk.board.${boardOf(index).uuid}.ping`);
    const create = (index: number) =>
      context.postHttp('/v1/operations', {
        procedure: 'ping',
        target: { boards: [boardOf(index).uuid] },
        delivery: 'when-online',
      });
    const rpc = (index: number) => context.callHttp(boardOf(index).uuid, 'ping');
    await rateOf(200, width, create);
    await drained(context);
    await rateOf(500, width, rpc);
    const single = await alternate(
      4,
      () => rateOf(4000, width, raw),
      () => rateWhenDone(context, perRound, () => rateOf(perRound, width, create)),
    );
    const overHttp = await rateOf(3000, width, rpc);
    const fleetOperations = 15;
    const fleet = await rateWhenDone(context, fleetOperations * boardCount, () =>
      rateOf(fleetOperations, 1, () =>
        context.postHttp('/v1/operations', {
          procedure: 'ping',
          target: { selector: 'bench=operations' },
          delivery: 'when-online',
        }),
      ),
    );
    const rawRate = median(single.raw);
    return [
      createResult(
        { name: 'operations.throughput', unit: 'operations/s', value: median(single.product), raw: rawRate },
        { atLeast: 0.3 },
      ),
      createResult({
        name: 'operations.throughput.rpc',
        unit: 'operations/s',
        value: median(single.product),
        raw: overHttp,
        note: 'raw: RPCs over HTTP',
      }),
      createResult(
        {
          name: 'operations.throughput.fleet',
          unit: 'targets/s',
          value: fleet,
          raw: rawRate,
          note: `operations of ${boardCount} boards`,
        },
        { atLeast: 0.3 },
      ),
    ];
  });
}

/** Operations a second from the first request to the last end. */
async function rateWhenDone(
  context: BenchContext,
  count: number,
  create: () => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  await create();
  await drained(context);
  return (count / (performance.now() - startedAt)) * 1000;
}

async function drained({ database }: BenchContext): Promise<void> {
  for (;;) {
    const [[row]] = await database.query<RowDataPacket[]>(
      'SELECT EXISTS (SELECT 1 FROM operation_targets WHERE queue IN (0, 1)) AS open',
    );
    if (Number(row?.open) === 0) return;
    await sleep(5);
  }
}

export function measureOperationWait(context: BenchContext): Promise<Result[]> {
  return withFleet(context, async ({ boards }) => {
    const [board] = boards as [ManyBoard];
    const rpc = () => context.callHttp(board.uuid, 'ping');
    const operation = () =>
      context.postHttp('/v1/operations?wait=5s', {
        procedure: 'ping',
        target: { boards: [board.uuid] },
        delivery: 'when-online',
      });
    await timeSequential(50, rpc);
    await timeSequential(50, operation);
    const rounds = await alternate(
      6,
      () => timeSequential(150, rpc),
      () => timeSequential(150, operation),
    );
    const at = (times: number[][], share: number) => median(times.map((each) => quantile(each, share)));
    const added = at(rounds.product, 0.5) - at(rounds.raw, 0.5);
    return [
      createResult(
        {
          name: 'operations.wait.added',
          unit: 'ms',
          value: added,
          note: `p50 ${at(rounds.product, 0.5).toFixed(1)} ms against ${at(rounds.raw, 0.5).toFixed(1)} ms of an RPC`,
        },
        { atMost: 15 },
      ),
      createResult({
        name: 'operations.wait.p99',
        unit: 'ms',
        value: at(rounds.product, 0.99),
        raw: at(rounds.raw, 0.99),
      }),
    ];
  });
}

const planBoards = 10_000;

export async function measurePlan(context: BenchContext): Promise<Result[]> {
  const { database } = context;
  const tenant = await context.tenantId();
  const boards = await context.register(planBoards);
  const contract = JSON.stringify({
    name: 'update',
    kwargs: { type: 'object', properties: { version: { type: 'string' } } },
    safety: 'journaled',
  });
  for (let from = 0; from < boards.length; from += 2500) {
    const part = boards.slice(from, from + 2500);
    await database.query(
      'INSERT INTO board_labels (board_uuid, label_key, tenant_id, label_value) VALUES ?',
      [part.map(({ uuid }) => [uuid, 'plan', tenant, 'yes'])],
    );
    await database.query('INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES ?', [
      part.map(({ uuid }) => [uuid, 'update', contract]),
    ]);
    await database.query("UPDATE boards SET contracts_hash = 'bench' WHERE uuid IN (?)", [
      part.map(({ uuid }) => uuid),
    ]);
  }
  const plan = () =>
    context.postHttp('/v1/operations/plan', {
      procedure: 'update',
      kwargs: { version: '2' },
      target: { selector: 'plan=yes' },
      delivery: 'rollout',
      rollout: { waves: [{ count: 10 }, { percent: 10 }, { percent: 100 }], rate: { perMinute: 600 } },
    });
  const times = await timeSequential(5, plan);
  await database.query("DELETE FROM board_labels WHERE label_key = 'plan'");
  return [
    createResult(
      {
        name: 'operations.plan',
        unit: 'ms',
        value: median(times),
        note: `a rollout of ${planBoards} boards`,
      },
      { atMost: 2000 },
    ),
  ];
}
