/** Calls a procedure of the agent that runs on this state folder. */
import { connect } from 'node:net';
import { AppError, isErrorCode, messageOf } from '../../common/runtime/app-error.ts';
import { asObject, type JsonObject } from '../../common/runtime/guards.ts';
import { controlPath } from './server.ts';

/**
 * undefined when no agent listens there. Rejects with the AppError that the procedure gave, and with
 * `unavailable` when the agent does not answer.
 */
export async function callAgent(
  stateDir: string,
  procedure: string,
  kwargs: JsonObject,
): Promise<{ result: unknown } | undefined> {
  const line = await exchange(controlPath(stateDir), `${JSON.stringify({ procedure, kwargs })}\n`);
  if (line === undefined) return undefined;
  const answer = asObject(JSON.parse(line), 'answer');
  if (answer.error === undefined) return { result: answer.result };
  const { code, message } = asObject(answer.error, 'error');
  throw new AppError(isErrorCode(code) ? code : 'internal', String(message));
}

const nobody = ['ENOENT', 'ECONNREFUSED'];

function exchange(path: string, request: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(path, () => socket.write(request));
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (nobody.includes(error.code ?? '')) resolve(undefined);
      else reject(new AppError('unavailable', `the agent cannot be asked: ${messageOf(error)}`));
    });
    socket.on('close', () => {
      if (received.endsWith('\n')) resolve(received);
      else reject(new AppError('unavailable', 'the agent has ended without an answer'));
    });
  });
}
