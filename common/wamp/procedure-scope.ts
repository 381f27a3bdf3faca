/**
 * Whether the scope of a key includes a procedure.
 * @param scopes names, `*` at the end stands for anything; null = every procedure
 */
export function matchesProcedure(scopes: readonly string[] | null, procedure: string): boolean {
  if (scopes === null) return true;
  return scopes.some((scope) =>
    scope.endsWith('*') ? procedure.startsWith(scope.slice(0, -1)) : procedure === scope,
  );
}
