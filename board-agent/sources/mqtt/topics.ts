/** Topics and topic filters of MQTT. */

/** The filter that takes all that the pattern of a rule, or a topic with placeholders, can be. */
export function toFilter(pattern: string): string {
  return pattern
    .split('/')
    .map((part) => (/[{+]/.test(part) ? '+' : part))
    .join('/');
}

/** Whether each topic that fits `narrow` fits `wide`. */
export function covers(wide: string, narrow: string): boolean {
  const parts = wide.split('/');
  const others = narrow.split('/');
  // Wildcards at the beginning do not take topics like $SYS.
  if (narrow.startsWith('$') && /^[+#]/.test(wide)) return false;
  for (const [index, part] of parts.entries()) {
    if (part === '#') return true;
    const other = others[index];
    if (other === undefined || other === '#') return false;
    if (part !== '+' && part !== other) return false;
  }
  // `a/#` takes `a` as well, which no filter without # does.
  return parts.length === others.length;
}

/** Without those that others cover: brokers may deliver a message once for each. */
export function dropCovered(filters: readonly string[]): string[] {
  const unique = [...new Set(filters)];
  return unique.filter((each) => !unique.some((other) => other !== each && covers(other, each)));
}

export function findFilterFault(filter: string): string | undefined {
  const parts = filter.split('/');
  const misplaced = parts.some(
    (part, index) =>
      (part.includes('+') && part !== '+') ||
      (part.includes('#') && (part !== '#' || index < parts.length - 1)),
  );
  if (misplaced) return 'must have + as a segment of its own, and # as the last one';
  return /\p{Cc}/u.test(filter) ? 'must not contain control characters' : undefined;
}
