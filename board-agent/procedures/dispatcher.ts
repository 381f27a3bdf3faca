/**
 * Where a call of this board arrives: finds the procedure, checks the arguments against its
 * contract (a service may call past the relay), bounds how many run, and logs each with its trace.
 */
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { ConfigError } from '../../common/runtime/config.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { type ProcedureContract, parseContracts } from '../../common/wamp/contract.ts';
import { checkSchema } from '../../common/wamp/schema-check.ts';
import { isReservedProcedure } from '../../common/wamp/uris.ts';
import type { Clock } from '../clock.ts';
import type { Invocation } from '../session/link.ts';
import type { BoardProcedure, CallContext } from '../sources/source.ts';

export interface DispatcherOptions {
  /** Prefix that stands before every procedure name. */
  prefix: string;
  procedures: readonly BoardProcedure[];
  /** Mapped by name; called by the server only, and not published. */
  reserved: Readonly<Record<string, (kwargs: object) => unknown>>;
  clock: Clock;
  logger: Logger;
  maxConcurrent?: number;
}

export interface Dispatcher {
  invoke(invocation: Invocation): Promise<unknown>;
  contracts: ProcedureContract[];
}

const defaultMaxConcurrent = 16;

/** Throws ConfigError when two procedures have one name or a contract is not publishable. */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { prefix, clock, logger, maxConcurrent = defaultMaxConcurrent } = options;
  const contracts = publish(options.procedures);
  const procedures = new Map(options.procedures.map((each) => [each.contract.name, each]));
  let running = 0;

  async function run(name: string, invocation: Invocation): Promise<unknown> {
    if (isReservedProcedure(name)) return runReserved(name, invocation);
    const procedure = procedures.get(name);
    if (!procedure) throw new AppError('procedure-not-found', `this board has no procedure '${name}'`);
    checkArguments(procedure.contract, invocation);
    if (running >= maxConcurrent)
      throw new AppError('too-many-calls', `${maxConcurrent} calls run on this board already`);
    running += 1;
    try {
      return (await procedure.run(invocation.kwargs, callContext(invocation))) ?? null;
    } finally {
      running -= 1;
    }
  }

  function runReserved(name: string, invocation: Invocation): unknown {
    const handler = Object.hasOwn(options.reserved, name) ? options.reserved[name] : undefined;
    if (invocation.callerRole !== 'agent')
      throw new AppError('not-authorized', `'${name}' is reserved for the server`);
    if (!handler) throw new AppError('procedure-not-found', `this board has no procedure '${name}'`);
    return handler(invocation.kwargs) ?? null;
  }

  return {
    contracts,
    async invoke(invocation) {
      const name = invocation.uri.startsWith(prefix) ? invocation.uri.slice(prefix.length) : '';
      const startedMs = clock.monotonicMs();
      const fields = { procedure: name, trace: invocation.trace, caller: invocation.callerAuthid };
      try {
        const result = await run(name, invocation);
        logger.info({ ...fields, durationMs: Math.round(clock.monotonicMs() - startedMs) }, 'call answered');
        return result;
      } catch (error) {
        const durationMs = Math.round(clock.monotonicMs() - startedMs);
        if (error instanceof AppError) {
          logger.info({ ...fields, durationMs, outcome: error.code, reason: error.message }, 'call refused');
          throw error;
        }
        logger.warn({ ...fields, durationMs, err: error }, 'call failed');
        throw new AppError('procedure-failed', messageOf(error), { cause: error });
      }
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

function checkArguments(contract: ProcedureContract, { args, kwargs }: Invocation): void {
  if (args.length > 0)
    throw new AppError('invalid-arguments', `'${contract.name}' takes keyword arguments only`);
  const schema = contract.kwargs ?? { type: 'object', properties: {}, additionalProperties: false };
  const errors = checkSchema(schema, kwargs);
  if (errors.length === 0) return;
  const first = errors[0] as (typeof errors)[number];
  throw new AppError(
    'invalid-arguments',
    `${first.pointer === '' ? 'kwargs' : first.pointer} ${first.message}`,
    {
      details: { errors },
    },
  );
}

function callContext({ trace, callerAuthid, progress }: Invocation): CallContext {
  return {
    ...(trace !== undefined && { trace }),
    ...(callerAuthid !== undefined && { callerAuthid }),
    ...(progress && { progress }),
  };
}
