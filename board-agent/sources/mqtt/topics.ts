/** Topics and topic filters of MQTT. */

/** The filter that takes all that the pattern of a rule, or a topic with placeholders, can be. */
export function toFilter(pattern: string): string {
  return pattern
    .split('/')
    .map((part) => (/[{+]/.test(part) ? '+' : part))
    .join('/');
}

/** Whether messages of the topic come by the subscription. */
export function takes(subscription: string, topic: string): boolean {
  const parts = partsOf(subscription);
  const names = topic.split('/');
  if (isSystem(names[0]) !== isSystem(parts[0])) return false;
  for (const [index, part] of parts.entries()) {
    if (part === '#') return true;
    const name = names[index];
    if (name === undefined || (part !== '+' && part !== name)) return false;
  }
  return parts.length === names.length;
}

/**
 * Filters that take all of these, and no topic twice: brokers may deliver a message once for each filter
 * that it fits. Of two that have topics in common there comes one that takes both, `a/+/+` for `a/+/c`
 * and `a/b/+`. A group's messages are its own.
 */
export function withoutOverlap(filters: readonly string[]): string[] {
  const disjoint: string[] = [];
  for (const each of filters) {
    let filter = each;
    for (;;) {
      const at = disjoint.findIndex((other) => overlap(other, filter));
      const [other] = at < 0 ? [] : disjoint.splice(at, 1);
      if (other === undefined) break;
      filter = widen(filter, other);
    }
    disjoint.push(filter);
  }
  return disjoint;
}

function overlap(one: string, other: string): boolean {
  if (groupOf(one) !== groupOf(other)) return false;
  const [left, right] = [partsOf(one), partsOf(other)];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const [a, b] = [left[index], right[index]];
    if (index === 0 && isSystem(a) !== isSystem(b)) return false;
    if (a === '#' || b === '#') return true;
    if (a === undefined || b === undefined || (a !== b && a !== '+' && b !== '+')) return false;
  }
  return true;
}

/** What takes both of two that overlap. */
function widen(one: string, other: string): string {
  const [left, right] = [partsOf(one), partsOf(other)];
  const parts: string[] = [];
  for (let index = 0; index < Math.max(left.length, right.length) && parts.at(-1) !== '#'; index += 1) {
    const [a = '#', b = '#'] = [left[index], right[index]];
    parts.push(a === b ? a : a === '#' || b === '#' ? '#' : '+');
  }
  return groupOf(one) + parts.join('/');
}

/** Wildcards at the beginning do not take topics like `$SYS/…`. */
const isSystem = (part: string | undefined) => part?.startsWith('$') ?? false;

const shared = /^\$share\/([^/+#]+)\/(?=.)/;

/** Of a shared subscription, `$share/<group>/`: each message goes to one of the group's members. */
const groupOf = (filter: string) => shared.exec(filter)?.[0] ?? '';
const partsOf = (filter: string) => filter.slice(groupOf(filter).length).split('/');

/** Whether messages come by one of the others as well, which belongs to another group. */
export function isDoubled(subscription: string, others: readonly string[]): boolean {
  const filter = partsOf(subscription).join('/');
  return others.some(
    (other) => groupOf(other) !== groupOf(subscription) && overlap(partsOf(other).join('/'), filter),
  );
}

export function findFilterFault(filter: string): string | undefined {
  if (filter.startsWith('$share/') && groupOf(filter) === '')
    return 'must name a group and a filter: $share/<group>/<filter>';
  const parts = filter.split('/');
  const misplaced = parts.some(
    (part, index) =>
      (part.includes('+') && part !== '+') ||
      (part.includes('#') && (part !== '#' || index < parts.length - 1)),
  );
  if (misplaced) return 'must have + as a segment of its own, and # as the last one';
  return /\p{Cc}/u.test(filter) ? 'must not contain control characters' : undefined;
}
