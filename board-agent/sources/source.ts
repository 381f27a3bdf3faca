/**
 * What a source of readings is: one or more modules of the board, with streams that it emits and
 * procedures that it answers. A new kind of source is a file here and a form in the settings schema.
 */
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ModuleDeclaration } from '../../common/wamp/agent-procedures.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';
import type { ReadingValue, StreamDeclaration } from '../../common/wamp/readings.ts';
import type { Clock } from '../clock.ts';

export interface CallContext {
  /** W3C traceparent of the request, when the caller gave one. */
  trace?: string;
  callerAuthid?: string;
  /** Sends a progressive result; absent when the caller does not want them. */
  progress?: (value: unknown) => void;
}

export interface BoardProcedure {
  contract: ProcedureContract;
  /** kwargs fit the contract. A thrown AppError keeps its code; anything else is `procedure-failed`. */
  run(kwargs: JsonObject, context: CallContext): unknown;
}

/** A reading that is not fit for the wire (NaN, a text too long) is dropped and logged. */
export type Emit = (stream: StreamDeclaration, value: ReadingValue, at?: number) => void;

export interface SourceContext {
  emit: Emit;
  clock: Clock;
  logger: Logger;
}

export interface Source {
  modules: ModuleDeclaration[];
  procedures: BoardProcedure[];
  start(): void | Promise<void>;
  stop(): void | Promise<void>;
}
