/** POST /wake: something is to be done now, and whoever asks may wait for its end. */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../common/runtime/app-error.ts';
import { secretsEqual } from '../common/runtime/secrets.ts';
import { parseWakeRequest } from '../common/wake/messages.ts';
import type { Engine } from './engine/engine.ts';

export interface WakeRoute {
  /** Answers with a status and a body. Throws AppError. */
  handle(request: IncomingMessage, gone: AbortSignal): Promise<{ status: number; body: object }>;
}

/** 3,000 uuids fit. */
const maxBytes = 128 * 1024;

export function createWakeRoute(options: {
  key: string;
  engine: Pick<Engine, 'wake' | 'lookAt' | 'waitForEnd'>;
  /** Outboxes of these consumers have got readings. */
  onConsumers?: (consumers: readonly string[]) => void;
}): WakeRoute {
  const { key, engine, onConsumers } = options;
  return {
    async handle(request, gone) {
      const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
      if (!secretsEqual(token, key)) throw new AppError('unauthenticated', 'wrong relay key');
      const {
        operations = [],
        boards = [],
        consumers = [],
        waitMs,
      } = parseWakeRequest(await readJson(request));
      if (consumers.length > 0) onConsumers?.(consumers);
      if (waitMs === undefined) {
        if (boards.length > 0) engine.wake(boards);
        engine.lookAt(operations);
        return { status: 202, body: {} };
      }
      // First the wait, then the work: its end is not missed, so nobody has to ask for it.
      const ended = engine.waitForEnd(operations, waitMs, gone);
      if (boards.length > 0) engine.wake(boards);
      else engine.lookAt(operations);
      return { status: 200, body: { ended: await ended } };
    },
  };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes) throw new AppError('payload-too-large', `more than ${maxBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new AppError('invalid-request', 'the body must be JSON', { cause });
  }
}
