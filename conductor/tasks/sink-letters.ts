/** Keeps the dead letters of sinks bounded: beyond the limit the oldest go, counted. */
import type { JsonObject } from '../../common/runtime/guards.ts';
import { sinkLimits } from '../../common/sinks/settings.ts';
import type { TaskContext } from '../scheduler.ts';
import { chunkRows, createBudget } from './chunks.ts';

const runMs = 20_000;

export async function trimDeadLetters(
  context: TaskContext,
  limit: number = sinkLimits.deadLetters,
): Promise<JsonObject> {
  const budget = createBudget(context, runMs);
  const full = (await context.database.read((manager) =>
    manager.query(
      `SELECT sink_id AS id, COUNT(*) AS letters FROM sink_dead_letters GROUP BY sink_id HAVING COUNT(*) > ?`,
      [limit],
    ),
  )) as { id: string; letters: number | string }[];
  let dropped = 0;
  for (const { id, letters } of full)
    for (let left = Number(letters) - limit; left > 0 && !budget.spent(); left -= chunkRows)
      dropped += await context.write(async (manager) => {
        const { affectedRows } = (await manager.query(
          'DELETE FROM sink_dead_letters WHERE sink_id = ? ORDER BY id LIMIT ?',
          [id, Math.min(left, chunkRows)],
        )) as { affectedRows: number };
        await manager.query('UPDATE sinks SET dropped_letters = dropped_letters + ? WHERE id = ?', [
          affectedRows,
          id,
        ]);
        return affectedRows;
      });
  return { dropped };
}
