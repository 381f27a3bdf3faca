/**
 * Calls a board as its plan says, and turns what came of it into changes of its targets. Nothing here
 * throws: a call that failed is an outcome like any other.
 */
import { randomBytes } from 'node:crypto';
import type { RelayClient } from '../../common/relay/relay-client.ts';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import {
  parseRunAnswer,
  parseStatusAnswer,
  type RunAnswer,
  type RunRequest,
} from '../../common/wamp/operations.ts';
import { reservedProcedures } from '../../common/wamp/uris.ts';
import type { BoardWork } from './claim.ts';
import type { PlannedCall } from './decide.ts';
import {
  judgeRunAnswer,
  judgeRunFailure,
  judgeStatus,
  judgeStatusFailure,
  type Outcome,
  type OutcomeContext,
} from './outcomes.ts';
import type { BoardView, OpenTarget } from './views.ts';

export interface CallSettings {
  /** How long a board may take to answer with the outcome instead of with how far it is. */
  inlineMs: number;
  /** What the way there and back, and a busy board, may take beyond. */
  marginMs: number;
}

export interface CallerOptions {
  relay: Pick<RelayClient, 'call'>;
  conductor: string;
  settings: CallSettings;
  /** The database's clock, epoch milliseconds. */
  now: () => number;
  onOutcome?: (outcome: Outcome) => void;
}

export interface Caller {
  call(work: BoardWork): Promise<Outcome[]>;
}

export function createCaller(options: CallerOptions): Caller {
  const { relay, settings } = options;
  const context = (): OutcomeContext => ({ conductor: options.conductor, now: options.now() });

  async function ask(board: BoardView, procedure: string, kwargs: JsonObject, timeoutMs: number) {
    const session = board.session as NonNullable<BoardView['session']>;
    const { result } = await relay.call(session.cell, {
      boardUuid: board.uuid,
      sessionId: session.id,
      procedure,
      kwargs,
      timeoutMs,
      contractsHash: board.contractsHash,
      requestId: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`,
      caller: { kind: 'process', id: 'conductor' },
    });
    return result;
  }

  async function run(board: BoardView, target: OpenTarget): Promise<Outcome> {
    try {
      const kwargs = { ...runRequest(target, settings, options.now()) };
      const timeoutMs = settings.inlineMs + settings.marginMs;
      const answer = await ask(board, reservedProcedures.run, kwargs, timeoutMs);
      return judgeRunAnswer(target, readRunAnswer(answer), context());
    } catch (error) {
      return judgeRunFailure(target, error, context());
    }
  }

  async function question(
    board: BoardView,
    { kind, targets }: Extract<PlannedCall, { kind: 'ask' | 'cancel' }>,
  ): Promise<Outcome[]> {
    const session = board.session as NonNullable<BoardView['session']>;
    const procedure = kind === 'ask' ? reservedProcedures.status : reservedProcedures.cancel;
    const via = kind === 'ask' ? 'status' : 'cancel';
    const asked = targets.slice(0, operationLimits.ids);
    try {
      const kwargs = { operationIds: asked.map(({ operationId }) => operationId) };
      const answer = parseStatusAnswer(await ask(board, procedure, kwargs, settings.marginMs));
      return asked.map((each) => judgeStatus(each, answer, via, session.id, context()));
    } catch (error) {
      return asked.map((each) => judgeStatusFailure(each, error, context()));
    }
  }

  return {
    async call({ loaded, calls }) {
      const outcomes = await Promise.all(
        calls.map(async (each) =>
          each.kind === 'run' ? [await run(loaded.view, each.target)] : question(loaded.view, each),
        ),
      );
      const all = outcomes.flat();
      for (const each of all) options.onOutcome?.(each);
      return all;
    },
  };
}

/** What makes no sense is not the board's refusal, whose codes are the same: it may have run. */
function readRunAnswer(answer: unknown): RunAnswer {
  try {
    return parseRunAnswer(answer);
  } catch (cause) {
    throw new AppError('internal', `the answer makes no sense: ${messageOf(cause)}`, {
      cause,
      details: { mayHaveRun: true },
    });
  }
}

function runRequest(target: OpenTarget, { inlineMs }: CallSettings, now: number): RunRequest {
  return {
    operationId: target.operationId,
    attempt: target.attempt,
    procedure: target.operation.procedure,
    kwargs: target.operation.kwargs,
    deadlineAt: target.deadlineAt.getTime(),
    sentAt: now,
    inlineMs,
    // Of a repeat only: the first delivery is for whatever journal the board has.
    ...(target.deliveries > 1 && target.journalEpoch !== null && { journalEpoch: target.journalEpoch }),
  };
}
