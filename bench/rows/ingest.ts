/** One gateway: readings from its spool to committed rows, against the same batches to a procedure that does nothing. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchContext } from '../context.ts';
import { alternate, median } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const readings = 50_000;
const batch = 500;

export async function measureIngest(context: BenchContext): Promise<Result[]> {
  const { boardsProcess } = context;
  await context.boards(1);
  const { router } = await context.rawRouter();
  await boardsProcess.run({ do: 'join-raw', router, boards: await context.register(1) });
  const dir = await mkdtemp(join(tmpdir(), 'boardwalk-bench-'));
  const perSecond = (ms: number) => (readings / ms) * 1000;
  let round = 0;
  const inserts: number[] = [];
  const rounds = await alternate(
    5,
    async () => perSecond((await boardsProcess.run({ do: 'push-raw', readings, batch })).ms),
    async () => {
      round += 1;
      const spoolPath = join(dir, `spool-${round}.db`);
      inserts.push(perSecond(await insertRows(context, round)));
      return perSecond((await boardsProcess.run({ do: 'ingest', readings, batch, spoolPath })).ms);
    },
  );
  await rm(dir, { recursive: true, force: true });
  const unit = 'readings/s';
  const value = median(rounds.product);
  const [pushed, inserted] = [median(rounds.raw), median(inserts)];
  return [
    createResult({ name: 'readings.ingest', unit, value, raw: pushed }, { atLeast: 0.4 }),
    createResult(rowOf('insert', inserted, 'raw: multi-row INSERT of the same rows')),
    createResult(rowOf('parts', 1 / (1 / pushed + 1 / inserted), 'raw: that push, then that INSERT')),
  ];

  function rowOf(part: string, raw: number, note: string) {
    return { name: `readings.ingest.${part}`, unit, value, raw, note };
  }
}

/** Rows of the same shape and number in one statement and commit per batch, into a table of the same form. */
async function insertRows({ database }: BenchContext, round: number): Promise<number> {
  await database.query('CREATE TABLE IF NOT EXISTS bench_readings LIKE readings');
  const startedAt = performance.now();
  for (let from = 0; from < readings; from += batch) {
    const now = Date.now();
    const rows = Array.from({ length: batch }, (_, index) => [
      index % 2,
      now,
      round,
      from + index,
      Math.sin(index),
    ]);
    await database.query('INSERT INTO bench_readings (stream_id, at, spool_id, seq, value_number) VALUES ?', [
      rows,
    ]);
  }
  return performance.now() - startedAt;
}
