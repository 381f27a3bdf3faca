/** Unique names are the database's to decide; this says so in the words of the contract. */
import { isDuplicate } from '../../common/db/fault-kind.ts';
import { AppError } from '../../common/runtime/app-error.ts';

/** Runs a statement; a violation of `constraint` becomes AppError `name-taken` at `pointer`. */
export async function refuseDuplicate<T>(
  constraint: string,
  pointer: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isDuplicate(error, constraint)) throw error;
    throw new AppError('name-taken', 'this name is taken', {
      cause: error,
      details: { errors: [{ pointer, detail: 'is taken' }] },
    });
  }
}
