/**
 * WAMP messages as JSON text. Python's JSON writes numbers that are none as `NaN` and `Infinity`,
 * and reads `1e400` as one: a router written in it hands on from one peer what no other reader of
 * JSON takes. Without this, anybody's `1e400` ends the session of whoever receives it.
 */

/** Numbers that are none become null, which no parser of a number takes. Throws SyntaxError. */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/NaN|Infinity/.test(text)) throw error;
    return JSON.parse(withoutNonFinite(text));
  }
}

/** Leaves what stands in texts alone. */
function withoutNonFinite(text: string): string {
  let result = '';
  let from = 0;
  while (from < text.length) {
    const quote = text.indexOf('"', from);
    const end = quote < 0 ? text.length : quote;
    result += text.slice(from, end).replaceAll(/-?Infinity|NaN/g, 'null');
    from = quote < 0 ? text.length : endOfText(text, quote);
    result += text.slice(end, from);
  }
  return result;
}

/** Index behind the text that begins at `quote`. */
function endOfText(text: string, quote: number): number {
  for (let index = text.indexOf('"', quote + 1); index >= 0; index = text.indexOf('"', index + 1)) {
    let backslashes = 0;
    while (text[index - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return index + 1;
  }
  return text.length;
}
