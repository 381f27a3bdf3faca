/**
 * What the end of a WAMP call means for the one who called over HTTP. `mayHaveRun` says whether the
 * call may have reached the board, whatever its answer holds. What failed as `procedure-failed` ran.
 */
import { withMayHaveRun } from '../../common/relay/messages.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { isWampFault, type WampFault } from '../../common/wamp/errors.ts';

/** Crossbar's words for a URI that nobody has registered, as opposed to a board that says the same. */
const noCallee = /^no callee registered/;

export function toCallFailure(error: unknown): AppError {
  if (error instanceof AppError) {
    // The link to the router broke while the call was under way.
    if (error.code === 'unavailable')
      return new AppError('relay-unavailable', 'the router went away during the call', {
        cause: error,
        details: { mayHaveRun: true },
      });
    // It was never sent.
    if (error.code === 'payload-too-large') return withMayHaveRun(error, false);
    return error;
  }
  const ran = { cause: error, details: { mayHaveRun: true } };
  if (!isWampFault(error)) return new AppError('internal', 'the call failed', ran);
  const message = messageOfFault(error);
  switch (error.error) {
    case 'wamp.error.canceled':
      return new AppError('board-offline', 'the board went away during the call', ran);
    case 'wamp.error.no_such_procedure':
      return noCallee.test(message)
        ? new AppError('board-offline', 'the board is not there at the moment', {
            cause: error,
            details: { mayHaveRun: false },
          })
        : new AppError('procedure-not-found', message, ran);
    case 'wamp.error.invalid_argument':
      return new AppError('invalid-arguments', message, {
        cause: error,
        details: { ...error.kwargs, mayHaveRun: true },
      });
    default:
      return new AppError('procedure-failed', message, {
        cause: error,
        details: { error: error.error, message, details: error.kwargs ?? {} },
      });
  }
}

function messageOfFault({ error, args }: WampFault): string {
  const [first] = args ?? [];
  const text = typeof first === 'string' ? first : first === undefined ? error : JSON.stringify(first);
  return text.slice(0, 2000);
}
