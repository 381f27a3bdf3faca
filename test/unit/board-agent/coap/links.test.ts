import { describe, expect, it } from 'vitest';
import { parseFilters, writeLinks } from '../../../../board-agent/sources/coap/links.ts';
import { listResources } from '../../../../board-agent/sources/coap/resources.ts';

const resources = listResources([
  { match: '/r', decoder: 'json' },
  { match: '{module}/status', decoder: 'senml+cbor' },
]);
const hrefs = (...queries: string[]) =>
  [...writeLinks(resources, parseFilters(queries)).matchAll(/<([^>]*)>/g)].map((each) => each[1]);

describe('the list of resources', () => {
  it('has every resource in link format', () => {
    expect(writeLinks(resources)).toBe(
      [
        '</.well-known/core>;rt="boardwalk.resources";if="core.rp";ct=40;title="What is here"',
        '</time>;rt="boardwalk.time";if="core.rp";ct="0 50";title="Time in UTC";obs',
        '</r>;rt="boardwalk.readings boardwalk.readings.json";if="boardwalk.post";ct=50;title="Readings"',
        '</%7Bmodule%7D/status>;rt="boardwalk.readings boardwalk.readings.senml+cbor";if="boardwalk.post";ct=112;title="Readings, at any path like {module}/status"',
      ].join(','),
    );
  });

  it.each([
    [['rt=boardwalk.time'], ['/time']],
    [['rt=boardwalk.readings.json'], ['/r']],
    [['rt=boardwalk.read*'], ['/r', '/%7Bmodule%7D/status']],
    [['rt=boardwalk'], []],
    [['if=core.rp'], ['/.well-known/core', '/time']],
    [['href=/r'], ['/r']],
    [['href=/t*'], ['/time']],
    [['ct=50'], ['/time', '/r']],
    [['ct=5*'], ['/time', '/r']],
    [['title=What*'], ['/.well-known/core']],
    [['title="Readings"'], ['/r']],
    [['obs'], ['/time']],
    [['rt=boardwalk.readings', 'ct=112'], ['/%7Bmodule%7D/status']],
    [['nothing=x'], []],
    [['rt=*'], ['/.well-known/core', '/time', '/r', '/%7Bmodule%7D/status']],
  ])('is filtered by %s', (queries, expected) => {
    expect(hrefs(...queries)).toEqual(expected);
  });
});
