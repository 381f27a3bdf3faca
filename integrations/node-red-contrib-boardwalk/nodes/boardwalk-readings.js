'use strict';

const { findServer, showStreamState, splitNames } = require('../lib/node-status.js');

module.exports = (RED) => {
  /** Live readings as they are stored; what passed while the connection was down is in the API, not here. */
  function ReadingsNode(config) {
    RED.nodes.createNode(this, config);
    const server = findServer(RED, this, config);
    if (!server) return;
    const isWanted = streamFilter(splitNames(config.streams));
    const stop = server.streams.listen(
      { types: ['readings'], boards: splitNames(config.board) },
      {
        onState: (state, reason) => showStreamState(this, state, reason),
        onEvent: (event) => {
          if (event.type !== 'readings') return;
          const readings = event.readings.filter(({ stream }) => isWanted(stream));
          if (readings.length > 0) this.send([messages(config, event, readings)]);
        },
      },
    );
    this.on('close', () => stop());
  }

  RED.nodes.registerType('boardwalk readings', ReadingsNode);
};

function messages(config, { board, tenant }, readings) {
  if (config.batches) return [{ topic: board, payload: readings, board, tenant }];
  return readings.map(({ stream, value, at, unit, type }) => ({
    topic: stream,
    payload: value,
    at,
    unit,
    valueType: type,
    board,
    tenant,
  }));
}

/** Names as they are, or beginnings: `hv/*`. None: all. */
function streamFilter(patterns) {
  if (patterns.length === 0) return () => true;
  return (stream) =>
    patterns.some((pattern) =>
      pattern.endsWith('*') ? stream.startsWith(pattern.slice(0, -1)) : stream === pattern,
    );
}
