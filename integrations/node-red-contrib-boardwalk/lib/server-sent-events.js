'use strict';

/** An event that is longer is no event of Boardwalk's. */
const maxBuffered = 4_000_000;

/**
 * Takes a stream of server-sent events apart, as the HTML standard describes it; chunks may end anywhere.
 * @param {(event: { type: string, data: string, id: string | undefined }) => void} onEvent
 * @returns {(text: string) => void}
 */
function createEventParser(onEvent) {
  let rest = '';
  let type = '';
  let data = [];
  let id;

  function takeLine(line) {
    if (line === '') {
      if (data.length > 0) onEvent({ type: type || 'message', data: data.join('\n'), id });
      type = '';
      data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') type = value;
    else if (field === 'data') data.push(value);
    else if (field === 'id') id = value;
  }

  return (text) => {
    rest += text;
    if (rest.length > maxBuffered) throw new Error('the server sends an event without an end');
    const lines = rest.split('\n');
    rest = lines.pop();
    for (const line of lines) takeLine(line.endsWith('\r') ? line.slice(0, -1) : line);
  };
}

module.exports = { createEventParser };
