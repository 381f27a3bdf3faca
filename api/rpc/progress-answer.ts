/**
 * The NDJSON form of an answer. The status waits for the first line: a call that fails before it sent
 * anything is refused with its own status and a problem document, as in the plain form.
 */
import type { Request, Response } from 'express';
import type { RelayResult } from '../../common/relay/messages.ts';
import { asAppError, toProblem } from '../http/problem.ts';

const mediaType = 'application/x-ndjson';

export function wantsProgress(request: Request): boolean {
  // Negotiating costs more than the rest of a call's parsing, and nearly all callers want JSON.
  return (
    request.headers.accept?.includes(mediaType) === true && request.accepts(['json', mediaType]) === mediaType
  );
}

type Call = (onProgress: (value: unknown) => Promise<void>) => Promise<RelayResult>;

export function createProgressAnswer(
  response: Response,
  requestId: string,
): { run(call: Call): Promise<void> } {
  /** false = the client reads slower than this. */
  function write(line: object): boolean {
    if (!response.headersSent)
      response.writeHead(200, { 'Content-Type': mediaType, 'Cache-Control': 'no-store' });
    return response.write(`${JSON.stringify(line)}\n`);
  }

  return {
    async run(call) {
      try {
        const last = await call(async (progress) => {
          // Waiting here makes the relay wait as well.
          if (!write({ progress })) await roomOrEnd(response);
        });
        write(last);
      } catch (error) {
        if (!response.headersSent) throw error;
        const failure = asAppError(error);
        response.locals.code = failure.code;
        write({ error: toProblem(failure, requestId) });
      }
      response.end();
    },
  };
}

function roomOrEnd(response: Response): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
    if (response.destroyed) done();
  });
}
