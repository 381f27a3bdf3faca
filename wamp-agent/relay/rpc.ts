/**
 * One call of a board's procedure: board here? → contract → a free place → CALL → answer. It ends
 * within its deadline whatever the board and the router do.
 */

import { type RelayCall, type RelayResult, withMayHaveRun } from '../../common/relay/messages.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { checkArguments } from '../../common/wamp/check-arguments.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';
import { isWampFault } from '../../common/wamp/errors.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { boardProcedureUri, isReservedProcedure } from '../../common/wamp/uris.ts';
import type { BoardDirectory, BoardEntry } from '../boards/directory.ts';
import type { Metrics } from '../metrics.ts';
import type { SignsOfLife } from '../presence/signs-of-life.ts';
import type { CallSlots } from './call-slots.ts';
import type { ContractCache } from './contracts.ts';
import { toCallFailure } from './failures.ts';

export interface Relay {
  /**
   * `signal` ends the call because nobody waits for it any more. Every AppError but `procedure-failed`
   * says in `details.mayHaveRun` whether the call may have reached the board.
   */
  call(call: RelayCall, options: CallControl): Promise<RelayResult>;
}

export interface CallControl {
  signal?: AbortSignal;
  onProgress?: (value: unknown) => void;
}

export interface RelayOptions {
  cell: string;
  session: () => WampSession;
  directory: BoardDirectory;
  contracts: ContractCache;
  slots: CallSlots;
  signs: SignsOfLife;
  metrics: Metrics;
}

export function createRelay(options: RelayOptions): Relay {
  const { directory, slots, metrics } = options;

  async function run(call: RelayCall, control: CallControl): Promise<RelayResult> {
    const startedAt = performance.now();
    const release = await admit(call);
    metrics.relayInFlight.set(slots.total());
    try {
      const result = await callBoard(call, control, startedAt + call.timeoutMs);
      options.signs.note(call.boardUuid, 'rpc');
      return { result: result ?? null, durationMs: performance.now() - startedAt };
    } catch (error) {
      if (isWampFault(error) || error instanceof AppError) throw await explain(call, error);
      throw error;
    } finally {
      release();
      metrics.relayInFlight.set(slots.total());
    }
  }

  /** Gives the call a place, or refuses it without asking the board: then it has not run. */
  async function admit(call: RelayCall): Promise<() => void> {
    try {
      await requireLive(call);
      if (isReservedProcedure(call.procedure)) requireProcess(call);
      else checkArguments(await getContract(call), call.args ?? [], call.kwargs ?? {});
      return slots.take(call.boardUuid);
    } catch (error) {
      throw withMayHaveRun(error, false);
    }
  }

  /** Reserved names have no contract, and are not for people and services. */
  function requireProcess({ caller, procedure }: RelayCall): void {
    if (caller.kind !== 'process')
      throw new AppError('procedure-not-found', `this board has no procedure '${procedure}'`);
  }

  /**
   * The caller has just read that the board is in this cell, and the router knows best: without a
   * board there the call finds no callee. Only what contradicts the caller is looked up again; the
   * session may be newer than what it read.
   */
  async function requireLive(call: RelayCall): Promise<void> {
    const seen = directory.peek(call.boardUuid);
    if (seen.known && !(isHere(seen.board) && seen.board?.live?.id === call.sessionId))
      await lookUpLive(call);
  }

  async function lookUpLive(call: RelayCall): Promise<void> {
    const board = await directory.find(call.boardUuid, { fresh: true });
    if (!board) throw new AppError('board-not-found', 'this board does not exist');
    if (!isHere(board)) throw new AppError('board-offline', 'this board is not connected');
  }

  const isHere = (board: BoardEntry | undefined) => board?.live?.cell === options.cell;

  async function getContract(call: RelayCall): Promise<ProcedureContract> {
    try {
      return await options.contracts.get(call.boardUuid, call.contractsHash, call.procedure);
    } catch (error) {
      // That a board is away comes before what it offers.
      if (error instanceof AppError && error.code === 'procedure-not-found') await lookUpLive(call);
      throw error;
    }
  }

  async function callBoard(call: RelayCall, control: CallControl, endsAt: number): Promise<unknown> {
    // Looking the board up may have taken all the time there was: then it is not bothered.
    if (control.signal?.aborted) throw callerGone(false);
    if (endsAt <= performance.now()) throw tooLate(call, false);
    const end = new AbortController();
    const over = Promise.withResolvers<never>();
    const giveUp = (error: AppError) => {
      over.reject(error);
      end.abort();
    };
    const onDeadline = () => giveUp(tooLate(call, true));
    const onGone = () => giveUp(callerGone(true));
    const timer = setTimeout(onDeadline, endsAt - performance.now());
    control.signal?.addEventListener('abort', onGone, { once: true });
    try {
      const answer = session().call(
        boardProcedureUri(call.boardUuid, call.procedure),
        call.args ?? [],
        call.kwargs ?? {},
        {
          traceparent: call.requestId,
          signal: end.signal,
          ...(control.onProgress && { onProgress: control.onProgress }),
        },
      );
      return await Promise.race([answer, over.promise]);
    } finally {
      clearTimeout(timer);
      control.signal?.removeEventListener('abort', onGone);
    }
  }

  /** A relay without its router gives the call back, so that another agent may take it. */
  function session(): WampSession {
    try {
      return options.session();
    } catch (cause) {
      throw new AppError('relay-unavailable', 'this relay is not joined to its router', {
        cause,
        details: { mayHaveRun: false },
      });
    }
  }

  async function explain(call: RelayCall, error: unknown): Promise<AppError> {
    const failure = toCallFailure(error);
    if (failure.code === 'board-offline') directory.forget(call.boardUuid);
    return failure;
  }

  return {
    async call(call, control) {
      try {
        const result = await run(call, control);
        metrics.relayCalls.inc({ outcome: 'ok' });
        return result;
      } catch (error) {
        metrics.relayCalls.inc({ outcome: error instanceof AppError ? error.code : 'internal' });
        throw error;
      }
    },
  };
}

function tooLate({ timeoutMs }: RelayCall, mayHaveRun: boolean): AppError {
  return new AppError('deadline-exceeded', `no answer within ${timeoutMs} ms`, { details: { mayHaveRun } });
}

function callerGone(mayHaveRun: boolean): AppError {
  return new AppError('relay-unavailable', 'the caller went away', { details: { mayHaveRun } });
}
