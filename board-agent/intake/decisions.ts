/** Who is let in: what the server has decided, kept on disk for the time without it. */
import type { DatabaseSync } from 'node:sqlite';
import type { ModuleState, UnknownDevicePolicy } from '../../common/wamp/modules.ts';
import { prepared } from '../state/sqlite-file.ts';

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

/** How a known module is treated; undefined for one that nobody has heard of. */
export function stateOf(
  state: { decisions: Decisions; devices: ReadonlyMap<string, { state: ModuleState }> } | undefined,
  module: string,
): ModuleState | undefined {
  return state?.decisions.states.get(module) ?? state?.devices.get(module)?.state;
}
