/** Deleting much in small transactions: others wait for none of them, and each may be the last. */
import type { TaskContext } from '../scheduler.ts';

/** DESIGN's bound: a transaction stays under 5,000 rows. */
export const chunkRows = 5000;

/** Ends a run that has much to do, so that its row says how far it came and another may go on. */
export interface Budget {
  /** True when the time is over; also throws when the task must stop. */
  spent(): boolean;
}

export function createBudget(context: TaskContext, budgetMs: number): Budget {
  const startedAt = performance.now();
  return {
    spent() {
      context.signal.throwIfAborted();
      return performance.now() - startedAt > budgetMs;
    },
  };
}

/**
 * Repeats a DELETE whose last parameter is its LIMIT until nothing is left or the budget is spent.
 * `complete` tells which.
 */
export async function deleteInChunks(
  context: TaskContext,
  budget: Budget,
  sql: string,
  parameters: readonly unknown[],
): Promise<{ deleted: number; complete: boolean }> {
  let deleted = 0;
  while (!budget.spent()) {
    const rows = await context.write(async (manager) => {
      const result = (await manager.query(sql, [...parameters, chunkRows])) as { affectedRows: number };
      return result.affectedRows;
    });
    deleted += rows;
    if (rows < chunkRows) return { deleted, complete: true };
  }
  return { deleted, complete: false };
}
