/**
 * What the server side asks of a WAMP session, and the typed procedures on top of it. Nothing here
 * knows autobahn: wamp-agent/router brings the session, tests bring their own.
 */
import { AppError } from '../runtime/app-error.ts';
import type { JsonObject } from '../runtime/guards.ts';
import {
  type AgentProcedures,
  parseEnrolRequest,
  parseHeartbeatRequest,
  parseHelloRequest,
} from './agent-procedures.ts';
import { parseArtifactChunk } from './artifacts.ts';
import { parseModulesRequest } from './modules.ts';
import { parseProgressRequest, parseResultRequest } from './operations.ts';
import { parseReadingsBatch } from './readings.ts';
import { agentUris } from './uris.ts';

/** Who calls, as the router discloses it; nothing in a payload can change it. */
export interface Caller {
  wampSession: number;
  authid: string;
  role: string;
}

export interface WampInvocation {
  args: unknown[];
  kwargs: JsonObject;
  /** undefined when the router does not disclose the caller: its own service session. */
  caller: Caller | undefined;
  /** The call claims to come from another session than the caller's. */
  isForwarded?: boolean;
}

export type InvocationHandler = (invocation: WampInvocation) => Promise<unknown>;

export interface CallOptions {
  /** Sent as a CALL option that the router hands through to the callee. */
  traceparent?: string;
  onProgress?: (value: unknown) => void;
  /** Aborting it ends the call at once, here and, where the callee can be interrupted, there. */
  signal?: AbortSignal;
}

export interface RegisterOptions {
  invoke?: 'roundrobin';
}

/** One joined session. Everything rejects with a WampFault, or AppError `unavailable` once it has ended. */
export interface WampSession {
  readonly id: number;
  call(uri: string, args: unknown[], kwargs: object, options?: CallOptions): Promise<unknown>;
  register(uri: string, handler: InvocationHandler, options?: RegisterOptions): Promise<void>;
  subscribe(topic: string, handler: (args: unknown[], kwargs: JsonObject) => void): Promise<void>;
  /** Fire and forget. */
  publish(topic: string, args: unknown[], kwargs: object): void;
}

export type AgentHandlers = {
  [K in keyof AgentProcedures]: (
    kwargs: AgentProcedures[K]['kwargs'],
    caller: Caller,
  ) => Promise<AgentProcedures[K]['result']>;
};

const parsers: {
  [K in keyof AgentProcedures]: (value: unknown) => AgentProcedures[K]['kwargs'];
} = {
  enrol: parseEnrolRequest,
  hello: parseHelloRequest,
  heartbeat: parseHeartbeatRequest,
  appendReadings: parseReadingsBatch,
  operationResult: parseResultRequest,
  operationProgress: parseProgressRequest,
  putArtifact: parseArtifactChunk,
  reportModules: parseModulesRequest,
};

/** The role that may call a procedure: the router checks it too, this is the second lock. */
const callerRoles = {
  enrol: 'enrolee',
  hello: 'board',
  heartbeat: 'board',
  appendReadings: 'board',
  operationResult: 'board',
  operationProgress: 'board',
  putArtifact: 'board',
  reportModules: 'board',
} as const;

export interface RegisterAllOptions extends RegisterOptions {
  /** Told of every refusal, for audit and metrics; must not throw. */
  onRefused?: (procedure: keyof AgentProcedures, caller: Caller | undefined, error: AppError) => void;
}

/** Registers the procedures that boards call; a payload reaches its handler only when it parses. */
export async function registerAll(
  session: WampSession,
  handlers: AgentHandlers,
  options: RegisterAllOptions = {},
): Promise<void> {
  const names = Object.keys(handlers) as (keyof AgentProcedures)[];
  await Promise.all(
    names.map((name) =>
      session.register(
        agentUris[name],
        async (invocation) => {
          try {
            return await handle(name, handlers, invocation);
          } catch (error) {
            if (error instanceof AppError) options.onRefused?.(name, invocation.caller, error);
            throw error;
          }
        },
        options.invoke ? { invoke: options.invoke } : {},
      ),
    ),
  );
}

async function handle<K extends keyof AgentProcedures>(
  name: K,
  handlers: AgentHandlers,
  { args, kwargs, caller, isForwarded = false }: WampInvocation,
): Promise<unknown> {
  if (isForwarded) throw new AppError('not-authorized', 'forwarded calls are not taken');
  if (caller?.role !== callerRoles[name])
    throw new AppError('not-authorized', `${agentUris[name]} is for role ${callerRoles[name]}`);
  if (args.length > 0)
    throw new AppError('invalid-arguments', 'args must be empty: only kwargs are taken', {
      details: { field: 'args' },
    });
  return handlers[name](parsers[name](kwargs), caller);
}
