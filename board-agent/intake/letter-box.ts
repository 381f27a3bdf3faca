/** Dead letters for people: listed, gone through the intake again after a rule was mended, dropped. */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';
import { type DeadLetter, letterOf } from './dead-letters.ts';
import type { Draft } from './draft.ts';
import type { DeadReason, IntakeOutcome } from './types.ts';
import type { Worker } from './worker.ts';

export interface LetterFilter {
  ids?: readonly number[];
  reason?: DeadReason;
  source?: string;
}

export interface LetterSummary {
  letters: number;
  bytes: number;
  byReason: Partial<Record<DeadReason, number>>;
  /** Topics and paths that no rule fits, the most frequent first. */
  unmatched: { path: string; letters: number }[];
}

export interface Replayed {
  stored: number;
  duplicate: number;
  /** Wait for a decision. */
  held: number;
  /** Are dead letters as before. */
  dead: number;
}

export interface LetterBox {
  /** In order of arrival; `after` is the id of the last one of the page before. */
  list(filter: LetterFilter, page: { after?: number; limit: number }): Promise<DeadLetter[]>;
  summary(): Promise<LetterSummary>;
  replay(filter: LetterFilter): Promise<Replayed>;
  /** Answers with how many went. */
  drop(filter: LetterFilter): Promise<number>;
}

/** Letters and their bytes in one transaction. */
const chunk = { letters: 100, bytes: 2_000_000 } as const;
const samples = 10;

export function createLetterBox(options: {
  worker: Worker;
  /** undefined when the letter's source is gone. */
  applyAgain: (draft: Draft, letter: DeadLetter) => IntakeOutcome | undefined;
}): LetterBox {
  const { worker, applyAgain } = options;

  /** Calls `each` for all letters that are here now; answers with what it did. It may be called again. */
  async function forAll<T>(
    filter: LetterFilter,
    each: (draft: Draft, letter: DeadLetter) => T,
  ): Promise<T[]> {
    const last = await worker.run(({ tx }) => findLastId(tx.db));
    const results: T[] = [];
    for (let after = 0; after < last; ) {
      const done = await worker.run((draft) => {
        const ids = findIds(draft.tx.db, filter, after, last);
        const letters = ids.flatMap((id) => findLetter(draft.tx.db, id) ?? []);
        return { results: letters.map((letter) => each(draft, letter)), after: ids.at(-1) ?? last };
      });
      results.push(...done.results);
      after = done.after;
    }
    return results;
  }

  return {
    list: (filter, { after = 0, limit }) =>
      worker.run(({ tx }) => {
        const { where, values } = conditions(filter);
        const sql = `SELECT * FROM dead_letters WHERE id > ? ${where} ORDER BY id LIMIT ?`;
        return tx.db
          .prepare(sql)
          .all(after, ...values, limit)
          .map(letterOf);
      }),

    summary: () => worker.run(({ tx }) => summarize(tx.db)),

    async replay(filter) {
      const replayed: Replayed = { stored: 0, duplicate: 0, held: 0, dead: 0 };
      for (const status of await forAll(filter, (draft, letter) => applyAgain(draft, letter)?.status)) {
        if (status === 'stored' || status === 'duplicate' || status === 'held') replayed[status] += 1;
        else replayed.dead += 1;
      }
      return replayed;
    },

    async drop(filter) {
      const dropped = await forAll(filter, (draft, letter) => draft.removeLetter(letter, 'rejected'));
      return dropped.length;
    },
  };
}

function findLastId(db: DatabaseSync): number {
  return Number(prepared(db, 'SELECT max(id) AS id FROM dead_letters').get()?.id ?? 0);
}

function conditions({ ids, reason, source }: LetterFilter): { where: string; values: SQLInputValue[] } {
  const parts: string[] = [];
  const values: SQLInputValue[] = [];
  if (ids) {
    parts.push('AND id IN (SELECT value FROM json_each(?))');
    values.push(JSON.stringify(ids));
  }
  if (reason !== undefined) {
    parts.push('AND reason = ?');
    values.push(reason);
  }
  if (source !== undefined) {
    parts.push('AND source = ?');
    values.push(source);
  }
  return { where: parts.join(' '), values };
}

function findIds(db: DatabaseSync, filter: LetterFilter, after: number, last: number): number[] {
  const { where, values } = conditions(filter);
  const sql = `SELECT id, bytes FROM dead_letters WHERE id > ? AND id <= ? ${where} ORDER BY id LIMIT ?`;
  const ids: number[] = [];
  let bytes = 0;
  for (const row of db.prepare(sql).all(after, last, ...values, chunk.letters)) {
    bytes += Number(row.bytes);
    if (bytes > chunk.bytes && ids.length > 0) break;
    ids.push(Number(row.id));
  }
  return ids;
}

function findLetter(db: DatabaseSync, id: number): DeadLetter | undefined {
  const row = prepared(db, 'SELECT * FROM dead_letters WHERE id = ?').get(id);
  return row && letterOf(row);
}

function summarize(db: DatabaseSync): LetterSummary {
  const reasons = db
    .prepare('SELECT reason, count(*) AS n, total(bytes) AS bytes FROM dead_letters GROUP BY reason')
    .all();
  const paths = db
    .prepare(
      `SELECT path, count(*) AS letters FROM dead_letters WHERE reason = 'unmatched'
       GROUP BY path ORDER BY letters DESC, path LIMIT ?`,
    )
    .all(samples);
  return {
    letters: reasons.reduce((sum, row) => sum + Number(row.n), 0),
    bytes: reasons.reduce((sum, row) => sum + Number(row.bytes), 0),
    byReason: Object.fromEntries(reasons.map((row) => [String(row.reason), Number(row.n)])),
    unmatched: paths.map((row) => ({ path: String(row.path), letters: Number(row.letters) })),
  };
}
