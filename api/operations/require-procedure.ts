import { AppError } from '../../common/runtime/app-error.ts';
import { isReservedProcedure } from '../../common/wamp/uris.ts';
import { type Principal, scopeAllowsProcedure } from '../auth/principal.ts';

/** For what will have a procedure called later, without the caller. Throws AppError `forbidden`. */
export function requireProcedure({ scope }: Principal, procedure: string): void {
  if (isReservedProcedure(procedure))
    throw new AppError('forbidden', "procedures of 'operation' are the service's own");
  if (!scopeAllowsProcedure(scope, procedure))
    throw new AppError('forbidden', `the key's scope does not include the procedure '${procedure}'`);
}
