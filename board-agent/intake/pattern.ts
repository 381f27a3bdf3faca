/**
 * Patterns of rules, e.g. `/{module}/status`, `sensors/{module}-{measurement}` or `plant/+/#`.
 *
 * One normal form for every transport: topics and paths are cut at `/`, and one leading slash says
 * nothing, neither in the pattern nor in the path. MQTT topics are written with and without it, CoAP
 * paths never have it; so `/{module}/status` fits `/hv/status` and `hv/status`. Empty segments
 * elsewhere count. A `{name}` takes one character or more of its segment, `+` takes any one segment,
 * a last `#` any rest (none included). Matching takes time in proportion to the path's length.
 */

/** A segment: texts around captures, `texts.length === names.length + 1`; or any segment. */
type Segment = '+' | { texts: string[]; names: string[] };

export interface Pattern {
  /** What the captures are called. */
  names: readonly string[];
  /** The captures, or undefined when the path does not fit. */
  match(path: string): Record<string, string> | undefined;
}

/** Longer topics and paths fit nothing. */
export const longestPath = 1000;
const longestPattern = 300;

/** The compiled pattern, or what is wrong with it. */
export function compilePattern(text: string): Pattern | { fault: string } {
  if (text === '' || text === '/') return { fault: 'must not be empty' };
  if (text.length > longestPattern) return { fault: `must have at most ${longestPattern} characters` };
  const parts = splitPath(text);
  const open = parts.at(-1) === '#';
  if (open) parts.pop();
  const segments: Segment[] = [];
  for (const part of parts) {
    const segment = part === '+' ? part : compileSegment(part);
    if (segment !== '+' && 'fault' in segment) return segment;
    segments.push(segment);
  }
  const names = segments.flatMap((each) => (each === '+' ? [] : each.names));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return { fault: `must not capture {${twice}} twice` };
  return { names, match: (path) => matchPath(segments, open, path) };
}

function splitPath(path: string): string[] {
  return (path.startsWith('/') ? path.slice(1) : path).split('/');
}

function compileSegment(part: string): Exclude<Segment, '+'> | { fault: string } {
  const [first = '', ...rest] = part.split('{');
  const segment = { texts: [first], names: [] as string[] };
  for (const each of rest) {
    const end = each.indexOf('}');
    const name = each.slice(0, Math.max(end, 0));
    if (!/^[a-z][A-Za-z0-9_]{0,39}$/.test(name))
      return { fault: `must have captures like {module}, not '${part}'` };
    segment.names.push(name);
    segment.texts.push(each.slice(end + 1));
  }
  if (segment.texts.some((text) => /[+#}]/.test(text)))
    return { fault: `must have + and # as segments of their own, and # last; not '${part}'` };
  if (segment.texts.slice(1, -1).includes(''))
    return { fault: `must have a text between captures in '${part}'` };
  return segment;
}

function matchPath(
  segments: readonly Segment[],
  open: boolean,
  path: string,
): Record<string, string> | undefined {
  if (path.length > longestPath) return undefined;
  const parts = splitPath(path);
  if (open ? parts.length < segments.length : parts.length !== segments.length) return undefined;
  const captures: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    if (segment !== '+' && !matchSegment(segment, parts[index] ?? '', captures)) return undefined;
  }
  return captures;
}

/** Each capture ends at the first place where the text after it can be; the last one at the segment's end. */
function matchSegment(
  { texts, names }: Exclude<Segment, '+'>,
  part: string,
  captures: Record<string, string>,
): boolean {
  const [first = ''] = texts;
  if (names.length === 0) return part === first;
  if (!part.startsWith(first)) return false;
  let from = first.length;
  for (const [index, name] of names.entries()) {
    const text = texts[index + 1] ?? '';
    const isLast = index === names.length - 1;
    const end = isLast ? part.length - text.length : part.indexOf(text, from + 1);
    if (end <= from || (isLast && !part.endsWith(text))) return false;
    captures[name] = part.slice(from, end);
    from = end + text.length;
  }
  return true;
}
