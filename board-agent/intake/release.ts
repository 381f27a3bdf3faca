/** Lets go what was held for a decision, in order, when the decision is there. */
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { type DeadLetter, findHeld } from './dead-letters.ts';
import { stateOf } from './decisions.ts';
import type { Draft } from './draft.ts';
import { giveUp } from './give-up.ts';
import type { IntakeOutcome } from './types.ts';
import type { Worker } from './worker.ts';

export interface ReleaseOptions {
  worker: Worker;
  ownerOf: (module: string) => string | undefined;
  /** undefined when the letter's source is gone. */
  applyAgain: (draft: Draft, letter: DeadLetter) => IntakeOutcome | undefined;
  logger: Logger;
}

/** Letters in one transaction: what is heard meanwhile gets its turn. */
const perTransaction = 50;

/**
 * Until nothing waits that needs not. What these devices send meanwhile joins the end, so that their
 * readings stay in order. Never rejects: what could not be done is done at the next decision or start.
 */
export async function releaseHeld({ worker, ownerOf, applyAgain, logger }: ReleaseOptions): Promise<void> {
  const findDecided = () =>
    [...(worker.state()?.letters.held.keys() ?? [])].find(
      (module) => ownerOf(module) !== undefined || stateOf(worker.state(), module) !== 'quarantined',
    );
  try {
    for (let module = findDecided(); module !== undefined; module = findDecided()) {
      const name = module;
      await worker.run((draft) => {
        for (const letter of findHeld(draft.tx.db, name, perTransaction))
          if (!applyAgain(draft, letter))
            giveUp(draft, letter, `the settings have no source '${letter.source}' any more`);
      });
    }
  } catch (error) {
    logger.warn({ reason: messageOf(error) }, 'messages of accepted devices still wait');
  }
}
