'use strict';

/**
 * Follows `GET /v1/events` for as long as it is wanted:
 *   connecting  asked, no answer yet;
 *   connected   events come (a `beat` at least every 10 s);
 *   waiting     broken, refused or silent: again after a while, from the last event that had an id.
 * A connection that has brought an event makes the next delay short again.
 */
const { setTimeout: sleep } = require('node:timers/promises');
const { readProblem } = require('./problem.js');
const { createEventParser } = require('./server-sent-events.js');

const delayMs = { first: 500, cap: 30_000 };
/** What a server asks for beyond that is not waited for. */
const longestRetryMs = 300_000;
/** Three beats that did not come. */
const silenceMs = 30_000;

/**
 * @param {{
 *   url: string, headers: Record<string, string>,
 *   onEvent: (event: Record<string, unknown>) => void,
 *   onState: (state: 'connecting' | 'connected' | 'waiting', reason?: string) => void,
 *   firstDelayMs?: number, silenceMs?: number,
 * }} options
 * @returns {{ stop: () => void }}
 */
function followEvents(options) {
  const { url, headers, onEvent, onState } = options;
  const stopping = new AbortController();
  let lastEventId;
  let failures = 0;

  async function readOnce(signal, heard) {
    const response = await fetch(url, {
      headers: {
        ...headers,
        Accept: 'text/event-stream',
        ...(lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId }),
      },
      signal,
    });
    if (!response.ok) throw await readProblem(response);
    if (!/^text\/event-stream\b/.test(response.headers.get('content-type') ?? ''))
      throw new Error('what answers at the URL is not the API');
    onState('connected');
    const parse = createEventParser(({ data, id }) => {
      failures = 0;
      if (id !== undefined) lastEventId = id;
      onEvent(JSON.parse(data));
    });
    const decoder = new TextDecoder();
    for await (const chunk of response.body) {
      heard();
      parse(decoder.decode(chunk, { stream: true }));
    }
  }

  async function connectOnce() {
    const silent = new AbortController();
    const patience = options.silenceMs ?? silenceMs;
    const timer = setTimeout(() => silent.abort(new Error(`nothing heard for ${patience / 1000} s`)), patience);
    try {
      await readOnce(AbortSignal.any([stopping.signal, silent.signal]), () => timer.refresh());
    } finally {
      clearTimeout(timer);
    }
  }

  async function run() {
    while (!stopping.signal.aborted) {
      onState('connecting');
      let reason = 'the server ended the stream';
      let leastMs = 0;
      try {
        await connectOnce();
      } catch (error) {
        reason = error.cause?.message ?? error.message;
        leastMs = Math.min(error.retryAfterMs ?? 0, longestRetryMs);
      }
      if (stopping.signal.aborted) return;
      const limit = Math.min((options.firstDelayMs ?? delayMs.first) * 2 ** failures, delayMs.cap);
      failures += 1;
      onState('waiting', reason);
      const wait = Math.max(leastMs, limit / 2 + (Math.random() * limit) / 2);
      // Rejects only when stopped, which the loop's condition sees.
      await sleep(wait, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  void run();
  return { stop: () => stopping.abort() };
}

module.exports = { followEvents };
