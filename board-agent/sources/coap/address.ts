/** Which resource a request is for: its path and query, also those that a terminator put into Proxy-Uri. */
import { type Message, textsOf } from './packet.ts';

export interface ResourceAddress {
  /** Segments joined by `/`, none in front. */
  path: string;
  queries: string[];
}

/** Options that change what a request means (RFC 7252, section 5.4.1) and that are understood. */
const understood = new Set([
  'Uri-Host',
  'Uri-Port',
  'Uri-Path',
  'Uri-Query',
  'Accept',
  'Block1',
  'Block2',
  'Proxy-Uri',
  'Proxy-Scheme',
]);
const known: Readonly<Record<string, boolean>> = {
  'If-Match': true,
  'If-None-Match': true,
  'Q-Block1': true,
  'Q-Block2': true,
  OSCORE: true,
};

/** The name of a critical option that this server does not know. */
export function findUnknownOption({ options }: Message): string | undefined {
  return options.find(({ name }) => {
    if (understood.has(name)) return false;
    // The codec names what it knows and gives other numbers as text.
    return known[name] ?? Number(name) % 2 === 1;
  })?.name;
}

/**
 * undefined = it is for another server: nothing is forwarded. A DTLS terminator in front
 * (`coap-server-openssl -P`) sends the whole address in Proxy-Uri, and no Uri-Path.
 */
export function findAddress(message: Message, proxyNames: readonly string[]): ResourceAddress | undefined {
  const [proxied] = textsOf(message, 'Proxy-Uri');
  const own = {
    path: textsOf(message, 'Uri-Path').map(asSegment).join('/'),
    queries: textsOf(message, 'Uri-Query'),
  };
  if (proxied !== undefined) {
    const named = parseUri(proxied);
    return named && proxyNames.includes(named.host) ? named : undefined;
  }
  const isProxied = textsOf(message, 'Proxy-Scheme').length > 0;
  if (isProxied && !proxyNames.includes(textsOf(message, 'Uri-Host')[0]?.toLowerCase() ?? ''))
    return undefined;
  return own;
}

const asSegment = (text: string) => text.replaceAll('/', '%2F');

/** By hand: URL resolves `..`, and knows schemes that CoAP does not. */
function parseUri(uri: string): (ResourceAddress & { host: string }) | undefined {
  const parts = /^coaps?:\/\/(\[[^\]/?#]*\]|[^:/?#]+)(?::\d*)?(?:\/([^?#]*))?(?:\?([^#]*))?$/i.exec(uri);
  if (!parts) return undefined;
  const [, host = '', path = '', query = ''] = parts;
  try {
    return {
      host: decodeURIComponent(host).toLowerCase(),
      path: path
        .split('/')
        .map((segment) => asSegment(decodeURIComponent(segment)))
        .join('/'),
      queries: query === '' ? [] : query.split('&').map(decodeURIComponent),
    };
  } catch {
    // decodeURIComponent throws URIError for a broken `%`.
    return undefined;
  }
}
