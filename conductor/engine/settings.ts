/** What an engine goes by, and who watches it. */
import type { CallSettings } from './calls.ts';
import type { LimitSettings } from './limits.ts';

export interface EngineSettings extends CallSettings {
  limits: LimitSettings;
  /** So long after its deadline a delivered target without news becomes `unknown`. */
  graceMs: number;
  /** The net under the wakes. */
  lookEveryMs: number;
  /** How long a dead conductor's boards are left alone; longer than any call takes. */
  leaseSeconds: number;
  /** Boards taken in one transaction. */
  claimAtOnce: number;
}

export const defaultEngineSettings: EngineSettings = {
  limits: { inFlight: 200, inFlightPerTenant: 100, drainPerSecond: 50 },
  inlineMs: 400,
  marginMs: 4000,
  graceMs: 60_000,
  lookEveryMs: 2000,
  leaseSeconds: 20,
  claimAtOnce: 64,
};

export interface EngineObserver {
  onClaim?: (boards: number, dispatches: number, seconds: number) => void;
  /** Dispatches to a board that was not given back in between. */
  onGoOn?: (dispatches: number) => void;
  onOutcome?: (label: string) => void;
  onCommit?: (seconds: number) => void;
}
