/** What a sender is told. `"status":"ok"` means: on this board's disk, whatever becomes of it. */
import type { ServerResponse } from 'node:http';
import type { IntakeOutcome } from '../../intake/types.ts';

export interface Answer {
  code: number;
  body: object | string;
  headers?: Record<string, string>;
}

const refusalCodes = { 'bad-mac': 401, 'too-fast': 429, 'too-large': 413 } as const;

export function answerOf(outcome: IntakeOutcome): Answer {
  switch (outcome.status) {
    case 'stored':
      return { code: 200, body: { status: 'ok', outcome: 'stored', readings: outcome.readings } };
    case 'duplicate':
    case 'held':
      return { code: 200, body: { status: 'ok', outcome: outcome.status } };
    case 'dead': {
      const { reason, detail } = outcome;
      return { code: 200, body: { status: 'ok', outcome: 'dead-letter', reason, detail } };
    }
    case 'refused': {
      const { reason, detail, retryAfterSeconds } = outcome;
      return refusal(refusalCodes[reason], reason, detail, retryAfterSeconds);
    }
    case 'unavailable':
      return refusal(503, 'unavailable', outcome.detail, outcome.retryAfterSeconds);
  }
}

export function refusal(code: number, reason: string, detail: string, retryAfterSeconds?: number): Answer {
  const headers = retryAfterSeconds !== undefined && {
    headers: { 'retry-after': String(Math.max(1, Math.ceil(retryAfterSeconds))) },
  };
  return { code, body: { status: 'refused', reason, detail }, ...headers };
}

export function send(response: ServerResponse, { code, body, headers }: Answer): void {
  const isText = typeof body === 'string';
  const content = isText ? body : `${JSON.stringify(body)}\n`;
  response.writeHead(code, {
    'content-type': isText ? 'text/plain; charset=utf-8' : 'application/json',
    'content-length': Buffer.byteLength(content),
    ...headers,
  });
  response.end(content);
}
