'use strict';

const { followEvents } = require('./follow-events.js');

/**
 * Event streams of one server, shared: nodes that want the same types and boards listen to one
 * connection, because the server limits how many a key may hold.
 * @param {{ url: string, headers: () => Record<string, string> }} server
 */
function createSharedStreams(server) {
  const streams = new Map();

  function open(key, url) {
    const listeners = new Set();
    const tell = (name, ...values) => {
      for (const listener of listeners) listener[name](...values);
    };
    const stream = { listeners, state: ['connecting'], stop: () => undefined };
    stream.stop = followEvents({
      url,
      headers: server.headers(),
      onEvent: (event) => tell('onEvent', event),
      onState: (...state) => {
        stream.state = state;
        tell('onState', ...state);
      },
    }).stop;
    streams.set(key, stream);
    return stream;
  }

  return {
    /**
     * @param {{ types: string[], boards: string[] }} wanted
     * @param {{ onEvent: (event: object) => void, onState: (state: string, reason?: string) => void }} listener
     * @returns {() => void} ends it
     */
    listen({ types, boards }, listener) {
      const query = new URLSearchParams({ types: types.join(',') });
      for (const board of [...boards].sort()) query.append('board', board);
      const key = query.toString();
      const stream = streams.get(key) ?? open(key, `${server.url}/v1/events?${key}`);
      stream.listeners.add(listener);
      listener.onState(...stream.state);
      return () => {
        stream.listeners.delete(listener);
        if (stream.listeners.size > 0) return;
        stream.stop();
        streams.delete(key);
      };
    },
    stop() {
      for (const { stop } of streams.values()) stop();
      streams.clear();
    },
  };
}

module.exports = { createSharedStreams };
