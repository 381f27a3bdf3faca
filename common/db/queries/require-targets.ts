/** Whether what was resolved is enough to make an operation of. */
import { AppError } from '../../runtime/app-error.ts';
import type { ExcludedBoard, ResolvedTargets } from './operation-targets.ts';

const namedExcluded = 1000;

/**
 * Refuses an operation that would reach nobody, or, when it is `strict`, not everybody. Throws AppError
 * `procedure-not-found`, `invalid-arguments` or `board-revoked`; `excluded` in its details names the boards.
 */
export function requireTargets(
  { included, excluded, faults }: ResolvedTargets,
  { procedure, strict = false }: { procedure: string; strict?: boolean },
): void {
  if (included.length > 0 && !(strict && excluded.length > 0)) return;
  const details = {
    excludedCount: excluded.length,
    excluded: excluded.slice(0, namedExcluded).map(({ uuid, ...rest }) => ({ board: uuid, ...rest })),
  };
  const errors = faults.map(({ pointer, message }) => ({ pointer, detail: message }));
  if (included.length > 0)
    throw new AppError('invalid-arguments', `${countBoards(excluded.length)} would be left out`, {
      details: { ...details, errors: [...errors, ...excluded.map(toError)].slice(0, 20) },
    });
  if (excluded.length === 0)
    throw new AppError('invalid-arguments', 'the target has no boards', {
      details: { errors: [{ pointer: '/target', detail: 'has no boards' }] },
    });
  if (faults.length > 0)
    throw new AppError('invalid-arguments', `the arguments break the contract of ${procedure}`, {
      details: { ...details, errors },
    });
  const [first] = excluded;
  if (excluded.every(({ reason }) => reason === 'board-revoked'))
    throw new AppError('board-revoked', 'every board of the target is revoked', { details });
  throw new AppError(
    'procedure-not-found',
    excluded.length === 1 && first
      ? `the board ${first.name} has no procedure '${procedure}'`
      : `no board of the target has a procedure '${procedure}'`,
    { details },
  );
}

function toError({ name, detail }: ExcludedBoard): { pointer: string; detail: string } {
  return { pointer: '/target', detail: `${name}: ${detail}` };
}

function countBoards(count: number): string {
  return count === 1 ? '1 board' : `${count} boards`;
}
