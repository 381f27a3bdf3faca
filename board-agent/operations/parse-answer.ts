import { AppError, messageOf } from '../../common/runtime/app-error.ts';

/**
 * An answer of the server. One that cannot be read is a fault of the server: the parser's own error
 * would look as if the server had refused what was sent to it.
 */
export function parseAnswer<T>(answer: unknown, parse: (value: unknown) => T): T {
  try {
    return parse(answer);
  } catch (error) {
    throw new AppError('internal', `the server's answer cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
