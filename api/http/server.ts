/** The HTTP server: bounds for clients that are slow, and answers for those that speak no HTTP. */
import { randomBytes } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { AppError } from '../../common/runtime/app-error.ts';
import { toProblem } from './problem.ts';

/** A whole request must have come by then, and its head by then: the largest body is 1 MiB. */
const requestTimeout = 60_000;
const headersTimeout = 20_000;

export function createApiServer(app: RequestListener): Server {
  const server = createServer({ requestTimeout, headersTimeout }, app);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuse(error, socket as Socket));
  return server;
}

const refusals: Record<string, [status: number, reason: string, detail: string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'the headers are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'the request took too long to arrive'],
};

/** What the parser refused has no request: this is said on the bare socket, and is the last word on it. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  // Bytes of an answer are on their way: more of them would be taken for a part of it.
  if (!socket.writable || socket.bytesWritten > 0) {
    socket.destroy(error);
    return;
  }
  const known = error.code === undefined ? undefined : refusals[error.code];
  const [status, reason, detail] = known ?? [400, 'Bad Request', 'this is not a request of HTTP/1.1'];
  const problem = toProblem(new AppError('invalid-request', detail), randomBytes(16).toString('hex'));
  const body = JSON.stringify({ ...problem, status });
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: application/problem+json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n${body}`,
  );
}
