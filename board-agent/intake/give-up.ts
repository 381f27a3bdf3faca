/** What was held waits for nothing any more: it stays as dead letters with the reason `rejected`, which can be replayed. */
import { type DeadLetter, findHeld } from './dead-letters.ts';
import type { Draft } from './draft.ts';

const atOnce = 50;

export function rejectHeld(draft: Draft, module: string, detail: string): void {
  while (draft.heldBy(module) > 0) {
    const letters = findHeld(draft.tx.db, module, atOnce);
    if (letters.length === 0) return;
    for (const letter of letters) giveUp(draft, letter, detail);
  }
}

export function giveUp(draft: Draft, letter: DeadLetter, detail: string): void {
  draft.countWaited(letter.source, 'rejected');
  draft.changeLetter(letter, { reason: 'rejected', detail, ...(letter.module && { module: letter.module }) });
}
