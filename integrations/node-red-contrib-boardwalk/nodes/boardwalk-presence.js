'use strict';

const { findServer, showStreamState, splitNames } = require('../lib/node-status.js');

module.exports = (RED) => {
  /** Boards that come and go. After a lost connection what was missed comes first. */
  function PresenceNode(config) {
    RED.nodes.createNode(this, config);
    const server = findServer(RED, this, config);
    if (!server) return;
    const stop = server.streams.listen(
      { types: ['presence'], boards: splitNames(config.board) },
      {
        onState: (state, reason) => showStreamState(this, state, reason),
        onEvent: ({ type, ...payload }) => {
          if (type === 'presence') this.send({ topic: payload.board, payload });
          // Away for longer than events are kept.
          else if (type === 'resync') this.warn('presence events were missed: read the state of the boards again');
        },
      },
    );
    this.on('close', () => stop());
  }

  RED.nodes.registerType('boardwalk presence', PresenceNode);
};
