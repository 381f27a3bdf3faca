'use strict';

const { callOf, callProcedure } = require('../lib/call-procedure.js');
const { findServer } = require('../lib/node-status.js');
const { BoardwalkProblem } = require('../lib/problem.js');

module.exports = (RED) => {
  /** Calls a procedure of a board with the message's payload; what is refused goes to a catch node. */
  function CallNode(config) {
    RED.nodes.createNode(this, config);
    const server = findServer(RED, this, config);
    const closing = new AbortController();
    let inFlight = 0;

    this.on('input', async (msg, send, done) => {
      inFlight += 1;
      this.status({ fill: 'blue', shape: 'dot', text: inFlight === 1 ? 'calling' : `calling (${inFlight})` });
      try {
        if (!server) throw new BoardwalkProblem('no-server', 'no-server: the node has no server that can be used');
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
