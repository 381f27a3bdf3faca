import { describe, expect, it } from 'vitest';
import { findAddress, findUnknownOption } from '../../../../board-agent/sources/coap/address.ts';
import { option, requestOf } from './support.ts';

const proxied = (uri: string) => findAddress(requestOf({ options: [option('Proxy-Uri', uri)] }), ['gateway']);

describe('the address of a request', () => {
  it('is its path and query', () => {
    const options = [
      option('Uri-Path', 'a'),
      option('Uri-Path', 'b/c'),
      option('Uri-Query', 'device=n1'),
      option('Uri-Query', 'seq=5'),
    ];
    expect(findAddress(requestOf({ options }), [])).toEqual({
      path: 'a/b%2Fc',
      queries: ['device=n1', 'seq=5'],
    });
  });

  it('is that of Proxy-Uri when the name is one of ours, and nothing is resolved in it', () => {
    expect(proxied('coap://gateway/r/../x?device=n%201&seq=5')).toMatchObject({
      path: 'r/../x',
      queries: ['device=n 1', 'seq=5'],
    });
    expect(proxied('coaps://GATEWAY:5684')).toMatchObject({ path: '', queries: [] });
  });

  it('is none when another server is meant: nothing is forwarded', () => {
    expect(proxied('coap://elsewhere/r')).toBeUndefined();
    expect(proxied('http://gateway/r')).toBeUndefined();
    expect(proxied('coap://gateway/%zz')).toBeUndefined();
    const options = [option('Proxy-Scheme', 'coap'), option('Uri-Host', 'elsewhere')];
    expect(findAddress(requestOf({ options }), ['gateway'])).toBeUndefined();
  });

  it('does not pass over options that change the meaning', () => {
    expect(findUnknownOption(requestOf({ options: [option('65', 'x')] }))).toBe('65');
    expect(findUnknownOption(requestOf({ options: [option('If-Match', 'x')] }))).toBe('If-Match');
    expect(
      findUnknownOption(requestOf({ options: [option('292', 'x'), option('ETag', 'x')] })),
    ).toBeUndefined();
  });
});
