/**
 * What devices have said, for a terminal: characters that would move its cursor, change its colours or
 * hide what follows stand there as `\u001b`.
 */
export function visible(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (each) => `\\u${(each.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}
