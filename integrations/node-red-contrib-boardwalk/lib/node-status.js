'use strict';

/** How the state of an event stream looks under a node in the editor. */
function showStreamState(node, state, reason) {
  const shown = {
    connecting: { fill: 'yellow', shape: 'ring', text: 'connecting' },
    connected: { fill: 'green', shape: 'dot', text: 'connected' },
    waiting: { fill: 'red', shape: 'ring', text: String(reason ?? 'not connected').slice(0, 60) },
  };
  node.status(shown[state]);
}

/** Names separated by commas or spaces. */
function splitNames(text) {
  return String(text ?? '')
    .split(/[\s,]+/)
    .filter((name) => name !== '');
}

module.exports = { showStreamState, splitNames };
