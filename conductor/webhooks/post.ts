/**
 * One request of a webhook. It goes to an address that was looked at just before, follows no redirect,
 * ends within its time whatever the receiver does, and reads a little of the answer at the most.
 */
import { type Agent, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { type Address, parseWebhookUrl, resolveWebhook } from '../../common/webhooks/addresses.ts';
import type { KeptConnection } from './kept-connection.ts';

export interface WebhookPost {
  url: string;
  headers: Record<string, string>;
  body: string;
  allowPrivate: boolean;
  timeoutMs: number;
  signal: AbortSignal;
  /** Used again where that is possible; left out, the request has a connection of its own. */
  connection?: KeptConnection;
}

export interface PostOutcome {
  ok: boolean;
  /** HTTP status; null = there was no answer. */
  status: number | null;
  /** null = it was taken. */
  error: string | null;
  /** All of it went out, though there was no answer: it may have been taken. */
  isSent?: boolean;
  /** What the answer asked for by `Retry-After`. */
  retryAfterMs?: number;
}

const maxAnswerBytes = 1024;
const shownAnswer = 150;

/** Never throws. */
export async function post(options: WebhookPost): Promise<PostOutcome> {
  const end = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs)]);
  const progress = { isSent: false };
  try {
    const url = parseWebhookUrl(options.url);
    const addresses = await resolveWebhook(url, options);
    end.throwIfAborted();
    // A connection that was kept may have been given up by the receiver at this very moment.
    const attempt = () => send(url, addresses, options, end, progress);
    const response = (await attempt()) ?? (await attempt());
    if (!response) throw new Error('the connection was closed');
    const status = response.statusCode ?? 0;
    const said = await beginning(response, end);
    if (status >= 200 && status < 300) return { ok: true, status, error: null };
    const retryAfterMs = parseRetryAfter(response.headers['retry-after']);
    return {
      ok: false,
      status,
      error: `answered ${status}${said}`,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  } catch (error) {
    return { ok: false, status: null, error: reasonOf(error, options, end), isSent: progress.isSent };
  }
}

/** Undefined when the connection was a kept one that turned out to be closed. */
function send(
  url: URL,
  addresses: readonly Address[],
  { headers, body, connection }: WebhookPost,
  signal: AbortSignal,
  progress: { isSent: boolean },
): Promise<IncomingMessage | undefined> {
  const agent: Agent | false = connection ? connection.agentFor(url, addresses) : false;
  const settings: RequestOptions = {
    method: 'POST',
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    // No address is asked for again: these are the ones that were looked at.
    lookup: createLookup(addresses),
    agent,
    signal,
  };
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, settings);
    request.on('response', resolve);
    request.on('finish', () => {
      progress.isSent = true;
    });
    // Also after the answer began; who reads that sees it by itself.
    request.on('error', (error: NodeJS.ErrnoException) => {
      const isClosed = error.code === 'ECONNRESET' || error.code === 'EPIPE';
      if (isClosed && request.reusedSocket && !signal.aborted) resolve(undefined);
      else reject(error);
    });
    request.end(body);
  });
}

function createLookup(addresses: readonly Address[]): LookupFunction {
  return (_hostname, options, callback) => {
    const [first] = addresses;
    if (options.all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family);
  };
}

/** For people who look into the log: the first line of what a receiver says about its refusal. */
async function beginning(response: IncomingMessage, signal: AbortSignal): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  try {
    for await (const chunk of response) {
      text += String(chunk);
      if (text.length >= maxAnswerBytes || signal.aborted) break;
    }
  } catch {
    // The status is there already; what was to follow is only a help.
  }
  response.destroy();
  const line = text
    .toWellFormed()
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, shownAnswer);
  return line === '' ? '' : `: ${line}`;
}

/** Seconds or a date (RFC 9110 §10.2.3). */
function parseRetryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}

function reasonOf(error: unknown, { timeoutMs, signal }: WebhookPost, end: AbortSignal): string {
  if (signal.aborted) return 'given up, because the sender stops';
  if (end.aborted) return `no answer within ${timeoutMs / 1000} s`;
  if (error instanceof AppError) return error.message;
  const { code } = error as { code?: string };
  return code === undefined ? messageOf(error) : `no connection: ${code}`;
}
