'use strict';

/** A refusal of Boardwalk's API: `code` is its stable code (`board-offline`, `invalid-arguments`, …). */
class BoardwalkProblem extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{ status?: number, problem?: object, retryAfterMs?: number }} [details]
   */
  constructor(code, message, details = {}) {
    super(message);
    this.name = 'BoardwalkProblem';
    this.code = code;
    this.status = details.status;
    this.problem = details.problem;
    this.retryAfterMs = details.retryAfterMs;
  }

  /** Node-RED shows errors by this: the message begins with the code already. */
  toString() {
    return this.message;
  }
}

/** Makes the error of an answer that is none of 2xx; its body is a problem document (RFC 9457), or anything. */
async function readProblem(response) {
  const text = await response.text().catch(() => '');
  let problem;
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy's page, for example: the status has to do.
  }
  const code = typeof problem?.code === 'string' ? problem.code : `http-${response.status}`;
  const message = problem?.detail ?? problem?.title ?? `the server answers ${response.status}`;
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN);
  return new BoardwalkProblem(code, `${code}: ${message}`, {
    status: response.status,
    problem,
    ...(Number.isFinite(retryAfter) ? { retryAfterMs: retryAfter * 1000 } : {}),
  });
}

module.exports = { BoardwalkProblem, readProblem };
