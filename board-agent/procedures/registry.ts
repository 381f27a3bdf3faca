/** The procedures of this board by name, with the checks that every way to run them shares. */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { type ProcedureContract, parseContracts } from '../../common/wamp/contract.ts';
import { checkSchema } from '../../common/wamp/schema-check.ts';
import type { Clock } from '../clock.ts';
import type { BoardProcedure } from '../sources/source.ts';

export interface Registry {
  contracts: ProcedureContract[];
  /** Throws AppError `procedure-not-found`. */
  get(name: string): BoardProcedure;
  find(name: string): BoardProcedure | undefined;
}

/** Throws ConfigError when two procedures have one name or a contract is not publishable. */
export function createRegistry(procedures: readonly BoardProcedure[]): Registry {
  const contracts = publish(procedures);
  const byName = new Map(procedures.map((each) => [each.contract.name, each]));
  return {
    contracts,
    find: (name) => byName.get(name),
    get(name) {
      const procedure = byName.get(name);
      if (!procedure) throw new AppError('procedure-not-found', `this board has no procedure '${name}'`);
      return procedure;
    },
  };
}

function publish(procedures: readonly BoardProcedure[]): ProcedureContract[] {
  try {
    return parseContracts(
      procedures.map((each) => each.contract),
      'procedures',
    );
  } catch (error) {
    throw new ConfigError([messageOf(error)]);
  }
}

/** Throws AppError `invalid-arguments` naming the first place; all of them are in its details. */
export function checkKwargs(contract: ProcedureContract, kwargs: JsonObject): void {
  const schema = contract.kwargs ?? { type: 'object', properties: {}, additionalProperties: false };
  const errors = checkSchema(schema, kwargs);
  const first = errors[0];
  if (!first) return;
  throw new AppError(
    'invalid-arguments',
    `${first.pointer === '' ? 'kwargs' : first.pointer} ${first.message}`,
    { details: { errors } },
  );
}

export interface LoggedWork {
  clock: Clock;
  logger: Logger;
  /** What is logged of it: `call` or `operation`. */
  kind: string;
  /** Members of its log line: procedure, trace, caller. */
  fields: object;
}

/** Runs `work` with one log line about how it ended. Throws AppErrors only: `procedure-failed` for all others. */
export async function logged<T>(about: LoggedWork, work: () => T | Promise<T>): Promise<T> {
  const { clock, logger, kind, fields } = about;
  const startedMs = clock.monotonicMs();
  const durationMs = () => Math.round(clock.monotonicMs() - startedMs);
  try {
    const result = await work();
    logger.info({ ...fields, durationMs: durationMs() }, `${kind} answered`);
    return result;
  } catch (error) {
    if (error instanceof AppError) {
      const refusal = { outcome: error.code, reason: error.message };
      logger.info({ ...fields, durationMs: durationMs(), ...refusal }, `${kind} refused`);
      throw error;
    }
    logger.warn({ ...fields, durationMs: durationMs(), err: error }, `${kind} failed`);
    throw new AppError('procedure-failed', messageOf(error), { cause: error });
  }
}
