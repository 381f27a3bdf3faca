/** What a transaction changes of the dead letters. The letters are written at once, their totals here. */
import type { DatabaseSync } from 'node:sqlite';
import { prepared } from '../state/sqlite-file.ts';
import { type DeadLetter, deadLetterLimits, insertLetter } from './dead-letters.ts';
import type { FlowDraft } from './draft-flow.ts';
import type { IntakeState } from './state.ts';
import type { DeadReason } from './types.ts';

/** What is needed to book a letter in or out. */
export type LetterLabel = Pick<DeadLetter, 'source' | 'reason' | 'module'>;

export interface LettersDraft {
  /** Letters that are held for a module. */
  heldBy(module: string): number;
  /** A message becomes a letter: counted as received, and as rejected or waiting. */
  addLetter(letter: Omit<DeadLetter, 'id'>): void;
  /**
   * `becomes` counts only for letters that were waiting: the others are counted as rejected already.
   */
  removeLetter(letter: LetterLabel & { id: number }, becomes: 'rejected' | 'nothing'): void;
  /** The same message, for another reason. What it was before is still counted. */
  changeLetter(letter: DeadLetter, next: Pick<DeadLetter, 'reason' | 'detail' | 'module'>): void;
  /**
   * The oldest go when there are too many, and what waits for a decision last: whoever sends rubbish must
   * not push it out. Answers with how many went.
   */
  evict(): number;
  adopt(): void;
}

const oldest = 'SELECT id, source, reason, module FROM dead_letters ORDER BY id LIMIT 100';
const oldestDead = `SELECT id, source, reason, module FROM dead_letters
  WHERE reason <> 'quarantined' ORDER BY id LIMIT 100`;

export function createLettersDraft(
  state: IntakeState,
  db: DatabaseSync,
  flow: FlowDraft,
  mostBytes: number,
): LettersDraft {
  const held = new Map<string, number>();
  const byReason = new Map<DeadReason, number>();
  let letters = state.letters.letters;
  let bytes = state.letters.bytes;

  const heldBy = (module: string) => held.get(module) ?? state.letters.held.get(module) ?? 0;

  function book({ source, reason, module = '' }: LetterLabel, step: 1 | -1): void {
    letters += step;
    byReason.set(reason, (byReason.get(reason) ?? 0) + step);
    if (reason !== 'quarantined') return;
    flow.countWaiting(source, step);
    held.set(module, heldBy(module) + step);
  }

  function removeLetter(letter: LetterLabel & { id: number }, becomes: 'rejected' | 'nothing'): void {
    const row = prepared(db, 'DELETE FROM dead_letters WHERE id = ? RETURNING bytes').get(letter.id);
    if (!row) return;
    bytes -= Number(row.bytes);
    book(letter, -1);
    if (letter.reason === 'quarantined' && becomes === 'rejected')
      flow.countWaited(letter.source, 'rejected');
  }

  return {
    heldBy,
    addLetter(letter) {
      flow.countReceived(letter.source);
      if (letter.reason !== 'quarantined') flow.countWaited(letter.source, 'rejected');
      bytes += insertLetter(db, letter);
      book(letter, 1);
    },
    removeLetter,
    changeLetter(letter, next) {
      prepared(db, 'UPDATE dead_letters SET reason = ?, detail = ?, module = ? WHERE id = ?').run(
        next.reason,
        next.detail.slice(0, deadLetterLimits.detailLength),
        next.module ?? null,
        letter.id,
      );
      book(letter, -1);
      book({ ...next, source: letter.source }, 1);
    },
    evict() {
      let evicted = 0;
      const isOver = () => letters > deadLetterLimits.letters || bytes > mostBytes;
      for (const sql of [oldestDead, oldest]) {
        while (isOver()) {
          const rows = prepared(db, sql).all() as unknown as (LetterLabel & { id: number })[];
          if (rows.length === 0) break;
          for (const row of rows) {
            if (!isOver()) break;
            removeLetter(row, 'rejected');
            evicted += 1;
          }
        }
      }
      return evicted;
    },
    adopt() {
      const totals = state.letters;
      totals.letters = letters;
      totals.bytes = bytes;
      for (const [reason, step] of byReason) totals.byReason[reason] = (totals.byReason[reason] ?? 0) + step;
      for (const [module, n] of held) {
        if (n > 0) totals.held.set(module, n);
        else totals.held.delete(module);
      }
    },
  };
}
