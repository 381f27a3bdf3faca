/** What the server has decided takes effect: on disk, and on the devices that are known. */
import type { DatabaseSync } from 'node:sqlite';
import type { ModulesAnswer } from '../../common/wamp/modules.ts';
import { prepared } from '../state/sqlite-file.ts';
import type { Decisions } from './decisions.ts';
import type { Draft } from './draft.ts';
import { rejectHeld } from './give-up.ts';

/**
 * Takes over what the server says. A device that it does not name is one that nobody has heard of: its
 * next message meets the policy. `reported` are those that it was just told of.
 */
export function applyDecisions(draft: Draft, answer: ModulesAnswer, reported: ReadonlySet<string>): void {
  const before = draft.decisions();
  const { unknownDevices, createPerMinute, version } = answer;
  const isSame =
    before.version === version &&
    before.unknownDevices === unknownDevices &&
    before.createPerMinute === createPerMinute;
  if (isSame && !answer.decisions) return;
  const next = writeDecisions(draft.tx.db, before, answer);
  draft.setDecisions(next);
  if (!answer.decisions) return;
  for (const name of draft.deviceNames()) {
    const wanted = next.states.get(name);
    const wasTold = before.version === undefined || before.states.has(name) || reported.has(name);
    if (wanted === undefined && wasTold) {
      draft.forgetDevice(name);
      // What it said would only bring back what somebody has forgotten.
      if (before.states.has(name) && unknownDevices === 'quarantine')
        rejectHeld(draft, name, `'${name}' was forgotten`);
    }
    if (wanted !== undefined && wanted !== draft.findDevice(name)?.state)
      Object.assign(draft.editDevice(name) ?? {}, { state: wanted });
  }
}

/** Inside a transaction. Answers with the decisions that hold from now on. */
function writeDecisions(db: DatabaseSync, before: Decisions, answer: ModulesAnswer): Decisions {
  const { unknownDevices, createPerMinute, version } = answer;
  const put = prepared(db, "INSERT OR REPLACE INTO meta (key, value) VALUES ('decisions', ?)");
  put.run(JSON.stringify({ unknownDevices, createPerMinute, version }));
  if (!answer.decisions) return { ...before, unknownDevices, createPerMinute, version };
  db.exec('DELETE FROM decisions');
  const insert = prepared(db, 'INSERT OR REPLACE INTO decisions (name, state) VALUES (?, ?)');
  for (const { name, state } of answer.decisions) insert.run(name, state);
  const states = new Map(answer.decisions.map(({ name, state }) => [name, state]));
  return { unknownDevices, createPerMinute, version, states };
}
