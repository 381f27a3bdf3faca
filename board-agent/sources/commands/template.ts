/**
 * Placeholders in what is sent to devices. Arguments come from callers: none may lead to another
 * topic, or say more to a device than the command that was meant.
 */
import { AppError } from '../../../common/runtime/app-error.ts';
import type { JsonObject } from '../../../common/runtime/guards.ts';

/** Values by placeholder; texts by which arguments are said (see CommandSettings.values). */
export interface Filling {
  values: JsonObject;
  texts: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const ownPlaceholders = ['module', 'correlation'] as const;

const placeholder = /\{([A-Za-z_][A-Za-z0-9_]*)\}/g;
const alone = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/;
const maxSegmentLength = 200;

/** Names that stand in a template, in the texts of JSON too. */
export function placeholdersIn(template: unknown): string[] {
  if (typeof template === 'string') return [...template.matchAll(placeholder)].map((each) => each[1] ?? '');
  if (typeof template !== 'object' || template === null) return [];
  return Object.values(template).flatMap(placeholdersIn);
}

/** A topic or path. Throws AppError `invalid-arguments` for what is no single segment of one. */
export function fillTopic(template: string, filling: Filling): string {
  return template.replaceAll(placeholder, (_, name: string) => {
    const text = textOf(name, filling);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    if (text === '' || text.length > maxSegmentLength || /[/+#\u0000-\u001f\u007f-\u009f]/.test(text))
      fail(name, `must be 1 to ${maxSegmentLength} characters without /, + and #`);
    if (!text.isWellFormed()) fail(name, 'must be well-formed Unicode');
    if (text === '.' || text === '..') fail(name, `must not be '${text}'`);
    return text;
  });
}

/** What is sent: text as it is, anything else as JSON. Throws AppError `invalid-arguments`. */
export function fillPayload(template: unknown, filling: Filling): Buffer {
  if (template === undefined) return Buffer.alloc(0);
  if (typeof template !== 'string') return Buffer.from(JSON.stringify(fillJson(template, filling)));
  const text = template.replaceAll(placeholder, (_, name: string) => {
    const value = textOf(name, filling);
    // Many devices take a line for a command: two lines would be two.
    if (/\p{Cc}/u.test(value)) fail(name, 'must not contain control characters');
    return value;
  });
  return Buffer.from(text);
}

/** `{name}` alone becomes the value itself; members whose argument was not given are left out. */
function fillJson(template: unknown, filling: Filling): unknown {
  if (typeof template === 'string') return fillValue(template, filling, true);
  if (Array.isArray(template)) return template.map((each) => fillJson(each, filling) ?? null);
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(
    Object.entries(template).map(([name, each]) => [name, fillJson(each, filling)] as const),
  );
}

/** A value with its type, for conditions and JSON; undefined when it is an argument that was not given. */
export function fillValue(template: string, filling: Filling, said = false): unknown {
  const name = alone.exec(template)?.[1];
  if (name === undefined) return template.replaceAll(placeholder, (_, each: string) => textOf(each, filling));
  if (!Object.hasOwn(filling.values, name)) return undefined;
  const value = filling.values[name];
  return said ? (saidFor(name, value, filling) ?? value) : value;
}

function textOf(name: string, filling: Filling): string {
  const value = Object.hasOwn(filling.values, name) ? filling.values[name] : undefined;
  const said = saidFor(name, value, filling);
  if (said !== undefined) return said;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return fail(name, value === undefined ? 'is required' : 'must be a text, a number, true or false');
}

function saidFor(name: string, value: unknown, { texts }: Filling): string | undefined {
  const own = Object.hasOwn(texts, name) ? texts[name] : undefined;
  const key = String(value);
  return own && Object.hasOwn(own, key) ? own[key] : undefined;
}

function fail(name: string, rule: string): never {
  throw new AppError('invalid-arguments', `/${name} ${rule}`, {
    details: { errors: [{ pointer: `/${name}`, message: rule }] },
  });
}
