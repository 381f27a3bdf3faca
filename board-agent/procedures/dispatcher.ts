/**
 * Where a call of this board arrives: finds the procedure, checks the arguments against its
 * contract (a service may call past the relay), bounds how many run, and logs each with its trace.
 */
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { isReservedProcedure } from '../../common/wamp/uris.ts';
import type { Clock } from '../clock.ts';
import type { Invocation } from '../session/link.ts';
import type { CallContext } from '../sources/source.ts';
import { checkKwargs, logged, type Registry } from './registry.ts';

export interface DispatcherOptions {
  /** Prefix that stands before every procedure name. */
  prefix: string;
  registry: Registry;
  /** Mapped by name; called by the server only, and not published. */
  reserved: Readonly<Record<string, (kwargs: object, trace?: string) => unknown>>;
  clock: Clock;
  logger: Logger;
  maxConcurrent?: number;
}

export interface Dispatcher {
  invoke(invocation: Invocation): Promise<unknown>;
}

const defaultMaxConcurrent = 16;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { prefix, registry, clock, logger, maxConcurrent = defaultMaxConcurrent } = options;
  /** Of immediate calls, which nobody takes back. */
  const { signal } = new AbortController();
  let running = 0;

  async function run(name: string, invocation: Invocation): Promise<unknown> {
    if (isReservedProcedure(name)) return runReserved(name, invocation);
    const procedure = registry.get(name);
    if (invocation.args.length > 0)
      throw new AppError('invalid-arguments', `'${name}' takes keyword arguments only`);
    checkKwargs(procedure.contract, invocation.kwargs);
    if (running >= maxConcurrent)
      throw new AppError('too-many-calls', `${maxConcurrent} calls run on this board already`);
    running += 1;
    try {
      return (await procedure.run(invocation.kwargs, callContext(invocation, signal))) ?? null;
    } finally {
      running -= 1;
    }
  }

  async function runReserved(name: string, invocation: Invocation): Promise<unknown> {
    const handler = Object.hasOwn(options.reserved, name) ? options.reserved[name] : undefined;
    if (invocation.callerRole !== 'agent')
      throw new AppError('not-authorized', `'${name}' is reserved for the server`);
    if (!handler) throw new AppError('procedure-not-found', `this board has no procedure '${name}'`);
    return (await handler(invocation.kwargs, invocation.trace)) ?? null;
  }

  return {
    async invoke(invocation) {
      const name = invocation.uri.startsWith(prefix) ? invocation.uri.slice(prefix.length) : '';
      const fields = { procedure: name, trace: invocation.trace, caller: invocation.callerAuthid };
      return logged({ clock, logger, kind: 'call', fields }, () => run(name, invocation));
    },
  };
}

function callContext({ trace, callerAuthid, progress }: Invocation, signal: AbortSignal): CallContext {
  return {
    signal,
    ...(trace !== undefined && { trace }),
    ...(callerAuthid !== undefined && { callerAuthid }),
    ...(progress && { progress }),
  };
}
