/** Who is let in: what the server has decided, kept on disk for the time without it. */
import type { DatabaseSync } from 'node:sqlite';
import type { ModuleState, ModulesAnswer, UnknownDevicePolicy } from '../../common/wamp/modules.ts';
import { prepared } from '../state/sqlite-file.ts';
import type { Draft } from './draft.ts';
import { rejectHeld } from './give-up.ts';

export interface Decisions {
  unknownDevices: UnknownDevicePolicy;
  createPerMinute: number;
  /** Of the server; undefined before its first answer. */
  version?: string;
  states: Map<string, ModuleState>;
}

const beforeTheFirst = { unknownDevices: 'quarantine', createPerMinute: 0 } as const;

export function loadDecisions(db: DatabaseSync): Decisions {
  const text = prepared(db, "SELECT value FROM meta WHERE key = 'decisions'").get()?.value;
  const kept = typeof text === 'string' ? (JSON.parse(text) as Omit<Decisions, 'states'>) : beforeTheFirst;
  const rows = prepared(db, 'SELECT name, state FROM decisions').all();
  return { ...kept, states: new Map(rows.map((row) => [String(row.name), row.state as ModuleState])) };
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

/** How a known module is treated; undefined for one that nobody has heard of. */
export function stateOf(
  state: { decisions: Decisions; devices: ReadonlyMap<string, { state: ModuleState }> } | undefined,
  module: string,
): ModuleState | undefined {
  return state?.decisions.states.get(module) ?? state?.devices.get(module)?.state;
}

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
