/** The time that a query asks for, and how fine; pure. */
import { AppError } from '../../common/runtime/app-error.ts';

export interface Window {
  /** Epoch milliseconds, the first. */
  fromAt: number;
  /** The first after the last. */
  toAt: number;
}

/** Width of buckets in milliseconds, or what decides it. */
export type Resolution = 'auto' | 'raw' | number;

const defaultSpanMs = 3_600_000;

/** Throws AppError `invalid-request`. */
export function parseWindow(query: { from?: string; to?: string }, now: number): Window {
  const toAt = query.to === undefined ? now : parseTime(query.to, 'to');
  const fromAt = query.from === undefined ? toAt - defaultSpanMs : parseTime(query.from, 'from');
  if (fromAt >= toAt) throw invalid('from', 'must be before `to`');
  // Nothing is measured before 1970: a board's clock that says so is refused at the door.
  return { fromAt: Math.max(0, fromAt), toAt: Math.max(1, toAt) };
}

function parseTime(text: string, parameter: string): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) throw invalid(parameter, 'must be a time as in RFC 3339');
  return at;
}

export function parseResolution(text: string | undefined): Resolution {
  if (text === undefined || text === 'auto') return 'auto';
  return text === 'raw' ? text : Number.parseInt(text, 10);
}

/** A refusal that names the parameter, as those of the contract's validation do. */
export function invalid(parameter: string, detail: string): AppError {
  return new AppError('invalid-request', `${parameter} ${detail}`, {
    details: { errors: [{ parameter: `query.${parameter}`, detail }] },
  });
}
