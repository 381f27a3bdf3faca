/** Patterns of stream names: `sensor_*` + `/meas1`; a star stands for any text within a segment. Pure. */
import { AppError } from '../runtime/app-error.ts';
import { alarmLimits } from './rules.ts';

const allowed = /^[A-Za-z0-9_.:*-]+(\/[A-Za-z0-9_.:*-]+)+$/;
const stars = 10;

/** Throws AppError `invalid-arguments` with the field. */
export function checkStreamPattern(pattern: string, field = 'stream'): string {
  const fault = (rule: string) =>
    new AppError('invalid-arguments', `${field} ${rule}`, { details: { field } });
  if (pattern.length > alarmLimits.patternLength)
    throw fault(`must have at most ${alarmLimits.patternLength} characters`);
  if (!allowed.test(pattern))
    throw fault("must be a name such as 'sensor_1/meas1', with '*' for any text within a segment");
  if (pattern.split('*').length - 1 > stars) throw fault(`must have at most ${stars} stars`);
  return pattern;
}

/** Compares name by name without backtracking over long texts: each star takes as little as it can. */
export function matchesPattern(pattern: string, name: string): boolean {
  const segments = pattern.split('/');
  const parts = name.split('/');
  return (
    segments.length === parts.length &&
    segments.every((segment, index) => matchesText(segment, parts[index] ?? ''))
  );
}

/** Of one segment, or of a name that has none: a star stands for any text, slashes too. */
export function matchesText(segment: string, text: string): boolean {
  const [first = '', ...rest] = segment.split('*');
  if (rest.length === 0) return segment === text;
  const last = rest.pop() ?? '';
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}

/** For a database that looks first: matches at least what the pattern matches. */
export function toLikePattern(pattern: string): string {
  return pattern.replaceAll(/[\\_%]/g, '\\$&').replaceAll('*', '%');
}
