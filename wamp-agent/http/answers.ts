/** Reading and answering JSON over plain node:http: the relay is on the path of every call. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, statusOf } from '../../common/runtime/app-error.ts';

export function answerJson(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

export function answerError(response: ServerResponse, error: unknown): void {
  const known = error instanceof AppError ? error : new AppError('internal', 'internal error');
  answerJson(response, statusOf(known.code), {
    code: known.code,
    message: known.message,
    details: known.details,
  });
}

/** The body as JSON. Throws `payload-too-large`, `invalid-request`. */
export function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // What comes after is read and thrown away, so that the answer can be sent.
      if (bytes > maxBytes) reject(new AppError('payload-too-large', `more than ${maxBytes} bytes`));
      else chunks.push(chunk);
    });
    request.on('end', () => {
      try {
        resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      } catch (cause) {
        reject(new AppError('invalid-request', 'the body must be JSON', { cause }));
      }
    });
    request.on('error', reject);
    request.on('close', () => {
      // Also emitted after a whole request, when an error would be made for nobody.
      if (!request.complete) reject(new AppError('invalid-request', 'the request broke off'));
    });
  });
}
