/** Whether the arguments of a call keep to the contract of its procedure. */
import { AppError } from '../runtime/app-error.ts';
import type { JsonObject } from '../runtime/guards.ts';
import type { ProcedureContract } from './contract.ts';
import { checkSchema, type SchemaFault } from './schema-check.ts';

const noKwargs = { type: 'object', additionalProperties: false };

/** What breaks the contract, with pointers that start at the body of the call; empty when nothing does. */
export function argumentFaults(
  contract: ProcedureContract,
  args: readonly unknown[],
  kwargs: JsonObject,
): SchemaFault[] {
  const faults = checkSchema(contract.kwargs ?? noKwargs, kwargs, '/kwargs');
  if (args.length > 0)
    faults.unshift({ pointer: '/args', message: 'must be empty: contracts describe kwargs' });
  return faults;
}

/** Throws `invalid-arguments` with the faults as `errors[]`. */
export function checkArguments(contract: ProcedureContract, args: unknown[], kwargs: JsonObject): void {
  const errors = argumentFaults(contract, args, kwargs);
  if (errors.length > 0)
    throw new AppError('invalid-arguments', `the call breaks the contract of ${contract.name}`, {
      details: { errors },
    });
}
