'use strict';

const { callProcedure, kwargsOf } = require('../lib/call-procedure.js');
const { BoardwalkProblem } = require('../lib/problem.js');

const defaultTimeoutMs = 30_000;

module.exports = (RED) => {
  /** Calls a procedure of a board with the message's payload; what is refused goes to a catch node. */
  function CallNode(config) {
    RED.nodes.createNode(this, config);
    const server = RED.nodes.getNode(config.server);
    const closing = new AbortController();
    let inFlight = 0;

    this.on('input', async (msg, send, done) => {
      inFlight += 1;
      this.status({ fill: 'blue', shape: 'dot', text: inFlight === 1 ? 'calling' : `calling (${inFlight})` });
      try {
        if (!server || server.fault) throw new BoardwalkProblem('no-server', server?.fault ?? 'no server is chosen');
        const { result, durationMs } = await callProcedure(
          { url: server.url, headers: server.headers() },
          { ...callOf(config, msg), signal: closing.signal },
        );
        inFlight -= 1;
        this.status(inFlight > 0 ? { fill: 'blue', shape: 'dot', text: `calling (${inFlight})` } : {});
        send(Object.assign(msg, { payload: result, durationMs }));
        done();
      } catch (error) {
        inFlight -= 1;
        if (closing.signal.aborted) return done();
        this.status({ fill: 'red', shape: 'ring', text: error.code ?? 'failed' });
        msg.problem = error.problem;
        done(error);
      }
    });

    this.on('close', () => closing.abort());
  }

  RED.nodes.registerType('boardwalk call', CallNode);
};

/** What the node says, and where it says nothing, what the message says. */
function callOf(config, msg) {
  const board = config.board || msg.board;
  const procedure = config.procedure || msg.procedure;
  for (const [name, value] of Object.entries({ board, procedure })) {
    if (typeof value !== 'string' || value === '')
      throw new BoardwalkProblem('invalid-arguments', `invalid-arguments: neither the node nor msg.${name} names a ${name}`);
  }
  const timeoutMs = Number(config.timeoutMs || msg.timeoutMs || defaultTimeoutMs);
  return { board, procedure, kwargs: kwargsOf(msg.payload), timeoutMs };
}
