import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';

interface Event {
  type: string;
  data: string;
  id: string | undefined;
}

const { createEventParser } = createRequire(import.meta.url)(
  '../../../integrations/node-red-contrib-boardwalk/lib/server-sent-events.js',
) as { createEventParser(onEvent: (event: Event) => void): (text: string) => void };

const text = [
  'id: a1\nevent: presence\ndata: {"status":"online"}\n\n',
  ': a comment\n\n',
  'event: readings\r\ndata: one\r\ndata:two\r\n\r\n',
  'event: beat\n\n',
].join('');

describe("the Node-RED nodes' reader of server-sent events", () => {
  it.each([1, 2, 3, 7, text.length])('gives the same events for chunks of %i characters', (size) => {
    const events: Event[] = [];
    const take = createEventParser((event) => events.push(event));
    for (let at = 0; at < text.length; at += size) take(text.slice(at, at + size));
    expect(events).toEqual([
      { type: 'presence', data: '{"status":"online"}', id: 'a1' },
      { type: 'readings', data: 'one\ntwo', id: 'a1' },
    ]);
  });

  it('gives nothing for an event that is not complete', () => {
    const events: Event[] = [];
    createEventParser((event) => events.push(event))('event: presence\ndata: {}\n');
    expect(events).toEqual([]);
  });

  it('refuses an event without an end', () => {
    const take = createEventParser(() => undefined);
    expect(() => {
      for (let count = 0; count < 10; count += 1) take('x'.repeat(1_000_000));
    }).toThrow('without an end');
  });
});
