/**
 * What a source of readings is: one or more modules of the board, with streams that it emits and
 * procedures that it answers. A source samples (it emits when it wants) or hears messages (it gives
 * them to the intake and acknowledges them when that is done).
 */
import type { JsonObject } from '../../common/runtime/guards.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { ModuleDeclaration } from '../../common/wamp/agent-procedures.ts';
import type { ArtifactReport } from '../../common/wamp/artifacts.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';
import type { ReadingValue, StreamDeclaration } from '../../common/wamp/readings.ts';
import type { Clock } from '../clock.ts';
import type { Intake } from '../intake/types.ts';

export interface CallContext {
  /** W3C traceparent of the request, when the caller gave one. */
  trace?: string;
  callerAuthid?: string;
  /**
   * Aborts when an operation is cancelled, at its deadline, and when the agent stops. A procedure that
   * takes long should then throw: what ends normally counts as done.
   */
  signal: AbortSignal;
  /** Of an operation; absent for an immediate call. The same attempt runs again only when that is harmless. */
  operation?: { id: string; attempt: number };
  /**
   * Immediate call: sends a progressive result; absent when the caller does not want them. Operation:
   * says how far it is, best as `{percent, message, data}`; the latest of each second is sent.
   */
  progress?: (value: unknown) => void;
  /** Operation: keeps a file that belongs to the result; absent for an immediate call. */
  artifact?: KeepArtifact;
}

export interface ArtifactLabel {
  /** Without slashes, unique in the operation. */
  name: string;
  mediaType: string;
}

/**
 * Writes the content to the board's disk, from where it is sent to the server. Rejects with AppError
 * `payload-too-large` beyond 50 MB, `unavailable` when the disk has no room.
 */
export type KeepArtifact = (
  label: ArtifactLabel,
  content: Buffer | string | AsyncIterable<Uint8Array>,
) => Promise<ArtifactReport>;

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
  /** Where a source that hears messages opens its door, when it is created. */
  intake: Intake;
  /** The server's clock as this board knows it, epoch milliseconds. */
  serverNow?: () => number;
  /** The agent's folder, for what a source has to remember. */
  stateDir: string;
}

export interface Source {
  modules: ModuleDeclaration[];
  procedures: BoardProcedure[];
  /** Resolves when it runs, or has tried. What may pass (a port that is taken) is a fault, and tried again. */
  start(): void | Promise<void>;
  /** Resolves when nothing of it runs any more. May be called twice. */
  stop(): void | Promise<void>;
}
