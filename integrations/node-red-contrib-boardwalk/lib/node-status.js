'use strict';

const longestText = 60;

/** The server that a node has been given; undefined with the reason below the node when there is none to use. */
function findServer(RED, node, config) {
  const server = RED.nodes.getNode(config.server);
  const fault = server ? server.fault : 'no server is chosen';
  if (fault === undefined) return server;
  node.status({ fill: 'red', shape: 'ring', text: fault.slice(0, longestText) });
  return undefined;
}

/** How the state of an event stream looks under a node in the editor. */
function showStreamState(node, state, reason) {
  const shown = {
    connecting: { fill: 'yellow', shape: 'ring', text: 'connecting' },
    connected: { fill: 'green', shape: 'dot', text: 'connected' },
    waiting: { fill: 'red', shape: 'ring', text: String(reason ?? 'not connected').slice(0, longestText) },
  };
  node.status(shown[state]);
}

/** Names separated by commas or spaces. */
function splitNames(text) {
  return String(text ?? '')
    .split(/[\s,]+/)
    .filter((name) => name !== '');
}

module.exports = { findServer, showStreamState, splitNames };
