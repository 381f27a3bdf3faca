'use strict';

const { BoardwalkProblem, readProblem } = require('./problem.js');

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
  try {
    response = await fetch(server.url + path, {
      method: 'POST',
      headers: { ...server.headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ kwargs, timeoutMs }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs + graceMs)]),
    });
  } catch (error) {
    const why = error.cause?.message ?? error.message;
    throw new BoardwalkProblem('server-unreachable', `server-unreachable: ${why}`);
  }
  if (!response.ok) throw await readProblem(response);
  return response.json();
}

/** kwargs of a message: an object, or nothing. Throws for anything else. */
function kwargsOf(payload) {
  if (payload === undefined || payload === null || payload === '') return {};
  if (typeof payload === 'object' && !Array.isArray(payload) && !Buffer.isBuffer(payload)) return payload;
  throw new BoardwalkProblem(
    'invalid-arguments',
    `invalid-arguments: msg.payload must be an object of arguments by name, not ${Array.isArray(payload) ? 'an array' : `a ${typeof payload}`}`,
  );
}

module.exports = { callProcedure, kwargsOf };
