/**
 * `boardwalk-agent dead-letters`: asks the running agent, or works on the spool itself when none
 * runs. Both ways it is the same procedures.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { createAgent } from '../agent.ts';
import { callAgent } from '../control/client.ts';
import type { LetterSummary } from '../intake/letter-box.ts';
import type { LetterView } from '../procedures/dead-letters.ts';
import { loadSettings } from '../settings.ts';
import { findIdentity } from '../state/identity.ts';
import { acquireLock } from '../state/instance-lock.ts';
import { visible } from './visible.ts';

export interface LettersPage {
  letters: LetterView[];
  next: number | null;
  summary: LetterSummary;
}

/** Calls a procedure of the agent, or of one that is made for it and started nowhere. Rejects with AppErrors. */
export async function callHere(
  stateDir: string,
  procedure: string,
  kwargs: JsonObject,
  settingsPath?: string,
): Promise<unknown> {
  const answered = await callAgent(stateDir, procedure, kwargs);
  if (answered) return answered.result;
  const settings = await loadSettings(stateDir, settingsPath);
  const identity = findIdentity(stateDir);
  if (!identity) throw new AppError('not-found', `${stateDir} holds no identity: run 'enrol' first`);
  const lock = acquireLock(stateDir, 'agent');
  const quiet = { error() {}, warn() {}, info() {}, debug() {}, child: () => quiet };
  const agent = createAgent({ stateDir, identity, settings, logger: quiet });
  try {
    return await agent.callLocally(procedure, kwargs);
  } finally {
    agent.close();
    lock.release();
  }
}

export function formatLetters({ letters, next, summary }: LettersPage): string {
  const reasons = Object.entries(summary.byReason).map(([reason, count]) => `${count} ${reason}`);
  const lines = letters.map(
    ({ id, at, source, reason, path, detail }) =>
      `${String(id).padStart(6)}  ${at}  ${source.padEnd(10)} ${reason.padEnd(13)} ${visible(path)}  ${visible(detail)}`,
  );
  const total = `${summary.letters} dead letters${reasons.length > 0 ? `: ${reasons.join(', ')}` : ''}`;
  return [...lines, total, ...(next === null ? [] : [`more with --after ${next}`])].join('\n');
}

/** Throws AppError `not-found`. */
export async function showLetter(stateDir: string, id: number, settingsPath?: string): Promise<LetterView> {
  const kwargs = { after: id - 1, limit: 1, full: true };
  const page = (await callHere(stateDir, 'gateway.dead_letters', kwargs, settingsPath)) as LettersPage;
  const letter = page.letters[0];
  if (letter?.id !== id) throw new AppError('not-found', `there is no dead letter ${id}`);
  return letter;
}
