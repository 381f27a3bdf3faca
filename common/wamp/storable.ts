/** What a JSON column takes: so deep, in Unicode. MariaDB stores 32 levels; the rest is for what is put around. */
import { AppError } from '../runtime/app-error.ts';

/** Throws AppError `invalid-arguments`. Level by level: no nesting exhausts the stack. */
export function checkStorable(value: unknown, field: string, levels: number): void {
  let level = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > levels)
      throw new AppError('invalid-arguments', `${field} is nested too deeply`, { details: { field } });
    if (level.some((each) => typeof each === 'string' && !each.isWellFormed()))
      throw new AppError('invalid-arguments', `${field} must be well-formed Unicode`, { details: { field } });
    level = level
      .filter((each) => typeof each === 'object' && each !== null)
      .flatMap((each) => (Array.isArray(each) ? each : Object.entries(each as object).flat()));
  }
}

export function isStorable(value: unknown, levels: number): boolean {
  try {
    checkStorable(value, 'value', levels);
    return true;
  } catch {
    // The question is only whether.
    return false;
  }
}
