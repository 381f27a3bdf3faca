/** The relay over HTTP, for api and conductor only. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type RelayCall, withMayHaveRun } from '../../common/relay/messages.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import { answerError, answerJson, readJson } from '../http/answers.ts';
import type { LiveHub } from '../live/hub.ts';
import type { Metrics } from '../metrics.ts';
import { parseDisconnect, parseInterest, parseRelayCall } from './parse.ts';
import type { Relay } from './rpc.ts';

export interface RelayRoutesOptions {
  relay: Relay;
  hub: LiveHub;
  /** Somebody started to watch these boards; never throws. */
  onWatched: (boardUuids: readonly string[]) => void;
  /** Ends every session of a board; answers with how many there were. */
  disconnect: (boardUuid: string, reason: string) => Promise<number>;
  metrics: Metrics;
  logger: Logger;
  beatMs?: number;
}

export type Route = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** A body of 1 MiB at the api, and room for what the api adds. */
const maxCallBytes = 2 * 1024 * 1024;
const maxInterestBytes = 1024 * 1024;
/** What may wait for a slow reader before lines are dropped, or its call is given up. */
const maxWaitingBytes = 1024 * 1024;

export interface RelayRoutes {
  byPath: Record<string, Route>;
  /** Ends the open live streams: they never end by themselves. */
  endStreams(): void;
}

export function createRelayRoutes(options: RelayRoutesOptions): RelayRoutes {
  const { relay, hub, metrics, logger } = options;
  const streams = new Set<ServerResponse>();

  async function rpc(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = await readCall(request);
    const gone = new AbortController();
    response.once('close', () => {
      // Also emitted after a whole answer, when nobody is to be told.
      if (!response.writableFinished) gone.abort();
    });
    const log = { board: call.boardUuid, procedure: call.procedure, requestId: call.requestId };
    try {
      if (call.progress === true) await stream(call, response, gone);
      else answerJson(response, 200, await relay.call(call, { signal: gone.signal }));
      logger.debug(log, 'call relayed');
    } catch (error) {
      const code = error instanceof AppError ? error.code : 'internal';
      if (code === 'internal') logger.error({ ...log, err: error }, 'call failed');
      else logger.debug({ ...log, code }, 'call failed');
      answerError(response, error);
    }
  }

  async function readCall(request: IncomingMessage): Promise<RelayCall> {
    try {
      return parseRelayCall(await readJson(request, maxCallBytes));
    } catch (error) {
      throw withMayHaveRun(error, false);
    }
  }

  async function stream(call: RelayCall, response: ServerResponse, gone: AbortController): Promise<void> {
    // The head is written with the first line, so that a refusal keeps its status.
    const writeLine = (value: object) => {
      if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(`${JSON.stringify(value)}\n`);
      if (response.writableLength > maxWaitingBytes) gone.abort();
    };
    try {
      const result = await relay.call(call, {
        signal: gone.signal,
        onProgress: (progress) => writeLine({ progress: progress ?? null }),
      });
      writeLine(result);
      response.end();
    } catch (error) {
      if (!response.headersSent) throw error;
      const { code, message, details } =
        error instanceof AppError ? error : new AppError('internal', 'the call failed', { cause: error });
      writeLine({ error: { code, message, details } });
      response.end();
    }
  }

  async function live(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const interest = parseInterest(await readJson(request, maxInterestBytes));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const write = (line: string) => {
      if (response.writableLength > maxWaitingBytes) metrics.liveLinesDropped.inc();
      else response.write(line);
    };
    const beat = () => write('{"type":"beat"}\n');
    const end = hub.listen(interest, write);
    const timer = setInterval(beat, options.beatMs ?? 5000);
    streams.add(response);
    response.once('close', () => {
      clearInterval(timer);
      streams.delete(response);
      end();
    });
    beat();
    if (interest.boards) options.onWatched(interest.boards);
  }

  async function disconnect(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { boardUuid, reason } = parseDisconnect(await readJson(request, maxInterestBytes));
    answerJson(response, 200, { sessions: await options.disconnect(boardUuid, reason) });
  }

  return {
    byPath: { '/relay/rpc': rpc, '/relay/live': live, '/relay/disconnect': disconnect },
    endStreams() {
      for (const each of streams) each.end();
    },
  };
}
