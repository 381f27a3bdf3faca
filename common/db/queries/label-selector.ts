/**
 * Label selectors: `site=lyon,role in (gw,hub),!retired`. All parts must hold. A value that holds
 * commas, brackets or spaces stands in double quotes, with `\"` and `\\` inside.
 *
 *   selector = part *( "," part )
 *   part     = key | "!" key | key ("=" | "==" | "!=") value | key ["notin" | "in"] "(" values ")"
 *
 * `!=` and `notin` also hold for boards without the label.
 */
import { AppError } from '../../runtime/app-error.ts';

export type LabelRequirement =
  | { key: string; kind: 'in' | 'notin'; values: string[] }
  | { key: string; kind: 'exists' | 'missing' };

const limits = { parts: 20, values: 100, keyLength: 63, valueLength: 100 } as const;
const keyPattern = /[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?/y;
const bareValuePattern = /[^,()"=!\s]+/y;
const quotedPattern = /"((?:[^"\\]|\\["\\])*)"/y;

/** Where a selector stands in its request: in the query, or in the body (JSON pointer). */
export type SelectorPlace = { name: string } & ({ parameter: string } | { pointer: string });

const inQuery: SelectorPlace = { name: 'labels', parameter: 'query.labels' };

/** Throws AppError `invalid-request` with the place and the position (from 1) of the fault. */
export function parseLabelSelector(text: string, place: SelectorPlace = inQuery): LabelRequirement[] {
  const { name: selectorName, ...whereabouts } = place;
  let at = 0;

  function fail(expected: string): never {
    const detail = `position ${at + 1}: expected ${expected}`;
    throw new AppError('invalid-request', `${selectorName} is not a selector: ${detail}`, {
      details: { errors: [{ ...whereabouts, detail, position: at + 1 }] },
    });
  }
  function match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at += found[0].length;
    return found ?? undefined;
  }
  const spaces = () => void match(/\s*/y);
  function take(token: string): boolean {
    if (!text.startsWith(token, at)) return false;
    at += token.length;
    return true;
  }
  function key(): string {
    const start = at;
    const found = match(keyPattern)?.[0];
    if (found === undefined) fail('a label key');
    if (found.length > limits.keyLength) {
      at = start;
      fail(`a key of at most ${limits.keyLength} characters`);
    }
    return found;
  }
  function value(): string {
    spaces();
    const start = at;
    const quoted = match(quotedPattern);
    const found = quoted ? (quoted[1] ?? '').replaceAll(/\\(["\\])/g, '$1') : match(bareValuePattern)?.[0];
    if (found === undefined) fail('a value');
    if (found.length > limits.valueLength) {
      at = start;
      fail(`a value of at most ${limits.valueLength} characters`);
    }
    return found;
  }
  function values(): string[] {
    spaces();
    if (!take('(')) fail('(');
    const list = [value()];
    for (spaces(); !take(')'); spaces()) {
      if (!take(',')) fail(', or )');
      if (list.length >= limits.values) fail(`at most ${limits.values} values`);
      list.push(value());
    }
    return list;
  }
  function part(): LabelRequirement {
    spaces();
    if (take('!')) {
      spaces();
      return { key: key(), kind: 'missing' };
    }
    const name = key();
    const hadSpace = match(/\s+/y) !== undefined;
    if (take('!=')) return { key: name, kind: 'notin', values: [value()] };
    if (take('==') || take('=')) return { key: name, kind: 'in', values: [value()] };
    const word = hadSpace ? match(/(notin|in)(?=[\s(])/y)?.[1] : undefined;
    if (word === undefined) return { key: name, kind: 'exists' };
    return { key: name, kind: word === 'in' ? 'in' : 'notin', values: values() };
  }

  const parts: LabelRequirement[] = [];
  for (;;) {
    parts.push(part());
    spaces();
    if (at === text.length) return parts;
    if (!take(',')) fail(', or the end');
    if (parts.length >= limits.parts) fail(`at most ${limits.parts} parts`);
  }
}

export interface SqlCondition {
  sql: string;
  values: unknown[];
}

/** The condition on a row of `boards` (or another table) whose uuid is `column`. */
export function labelCondition(requirement: LabelRequirement, column: string): SqlCondition {
  const negated = requirement.kind === 'notin' || requirement.kind === 'missing';
  const onValue = 'values' in requirement ? ' AND l.label_value IN (?)' : '';
  return {
    sql: `${negated ? 'NOT ' : ''}EXISTS (SELECT 1 FROM board_labels l WHERE l.board_uuid = ${column} AND l.label_key = ?${onValue})`,
    values: [requirement.key, ...('values' in requirement ? [requirement.values] : [])],
  };
}
