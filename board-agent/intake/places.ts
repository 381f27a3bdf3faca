/**
 * Places for devices. Those that are held and were never let in, *strangers*, have few: whoever invents
 * ids must leave room for real devices. A stranger that has been quiet for long gives way to a newcomer;
 * where none has, the newcomer is refused, and costs nothing. The server goes by the same rule. Before its
 * first answer every device is held, and none of them is a stranger yet.
 */
import { type ModuleState, moduleLimits, strangerQuietMs } from '../../common/wamp/modules.ts';
import type { Device } from './devices.ts';
import type { Draft } from './draft.ts';
import { rejectHeld } from './give-up.ts';

export type Place = { isFree: true; insteadOf?: string } | { isFree: false; detail: string };

export interface Newcomer {
  state: ModuleState;
  /** When it was heard, epoch milliseconds. */
  at: number;
  /** Others of the same message that take a place before it. */
  before: number;
}

/** @param isOwn whether the board declares the module itself: such ones are beside the limits */
export function findPlace(draft: Draft, isOwn: (module: string) => boolean, newcomer: Newcomer): Place {
  const devices = draft.deviceNames().flatMap((name) => (isOwn(name) ? [] : (draft.findDevice(name) ?? [])));
  const unheard = devices.filter(({ state, received }) => state !== 'accepted' && received === 0);
  const surplus = devices.length + newcomer.before - moduleLimits.perBoard;
  if (surplus >= 0)
    return takeFrom(unheard, surplus, newcomer, `the board has ${moduleLimits.perBoard} devices`);
  const hasDecisions = draft.decisions().version !== undefined;
  if (newcomer.state !== 'quarantined' || !hasDecisions) return { isFree: true };
  const strangers = unheard.filter(({ state }) => state === 'quarantined');
  const tooMany = strangers.length + newcomer.before - moduleLimits.strangers;
  if (tooMany < 0) return { isFree: true };
  return takeFrom(strangers, tooMany, newcomer, `${moduleLimits.strangers} devices wait for a decision`);
}

/** Each of the same message takes the place of another one, the longest unheard first. */
function takeFrom(
  devices: readonly Readonly<Device>[],
  surplus: number,
  { at, before }: Newcomer,
  what: string,
): Place {
  const place = Math.min(surplus, before);
  const longest = devices.toSorted((left, right) => left.lastSeenAt - right.lastSeenAt)[place];
  return longest && longest.lastSeenAt <= at - strangerQuietMs
    ? { isFree: true, insteadOf: longest.name }
    : { isFree: false, detail: `${what}, more are not allowed` };
}

/** Forgets the one that gives way. */
export function giveWay(draft: Draft, name: string): void {
  draft.forgetDevice(name);
  rejectHeld(draft, name, `'${name}' gave its place to another device`);
}
