'use strict';

const { BoardwalkProblem, readProblem } = require('./problem.js');

const defaultTimeoutMs = 30_000;
const longestTimeoutMs = 300_000;
/** How much longer than the call's own deadline an answer may be under way. */
const graceMs = 5_000;

/**
 * Calls a procedure of a board, now.
 * @param {{ url: string, headers: Record<string, string> }} server
 * @param {{ board: string, procedure: string, kwargs: object, timeoutMs: number, signal: AbortSignal }} call
 * @returns {Promise<{ result: unknown, durationMs: number }>} rejects with a BoardwalkProblem
 */
async function callProcedure(server, { board, procedure, kwargs, timeoutMs, signal }) {
  const path = `/v1/boards/${encodeURIComponent(board)}/rpc/${encodeURIComponent(procedure)}`;
  let response;
  let text;
  try {
    response = await fetch(server.url + path, {
      method: 'POST',
      headers: { ...server.headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ kwargs, timeoutMs }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs + graceMs)]),
    });
    if (response.ok) text = await response.text();
  } catch (error) {
    const why = error.cause?.message ?? error.message;
    throw new BoardwalkProblem('server-unreachable', `server-unreachable: ${why}`);
  }
  if (text === undefined) throw await readProblem(response);
  return parseAnswer(text);
}

function parseAnswer(text) {
  try {
    return JSON.parse(text);
  } catch {
    // A proxy's page, for example.
    throw new BoardwalkProblem('no-boardwalk', 'no-boardwalk: what answers at the URL is not the API');
  }
}

/**
 * What the node says, and where it says nothing, what the message says.
 * @returns {{ board: string, procedure: string, kwargs: object, timeoutMs: number }} throws a BoardwalkProblem
 */
function callOf(config, msg) {
  const board = config.board || msg.board;
  const procedure = config.procedure || msg.procedure;
  for (const [name, value] of Object.entries({ board, procedure })) {
    if (typeof value !== 'string' || value === '') refuse(`neither the node nor msg.${name} names a ${name}`);
  }
  const timeoutMs = Number(config.timeoutMs || msg.timeoutMs || defaultTimeoutMs);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > longestTimeoutMs)
    refuse(`the deadline must be a whole number of milliseconds from 1 to ${longestTimeoutMs}`);
  return { board, procedure, kwargs: kwargsOf(msg.payload), timeoutMs };
}

/** An object, or nothing. */
function kwargsOf(payload) {
  if (payload === undefined || payload === null || payload === '') return {};
  if (typeof payload === 'object' && !Array.isArray(payload) && !Buffer.isBuffer(payload)) return payload;
  const what = Array.isArray(payload) ? 'an array' : `a ${typeof payload}`;
  return refuse(`msg.payload must be an object of arguments by name, not ${what}`);
}

function refuse(rule) {
  throw new BoardwalkProblem('invalid-arguments', `invalid-arguments: ${rule}`);
}

module.exports = { callOf, callProcedure };
