/**
 * The value of a JSON column: MariaDB gives it as text, MySQL parsed. `T` is the caller's word: what is
 * stored was checked when it came in.
 */
export function fromJsonColumn<T>(column: unknown): T {
  return (typeof column === 'string' ? JSON.parse(column) : column) as T;
}
