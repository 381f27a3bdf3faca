/** Which resource a request is for: its path and query, also those that a terminator put into Proxy-Uri. */
import type { Message } from './packet.ts';

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
  const own: ResourceAddress = { path: '', queries: [] };
  let [segments, isProxied] = [0, false];
  let host: string | undefined;
  let proxied: string | undefined;
  for (const { name, value } of message.options) {
    if (name === 'Uri-Path') {
      own.path = `${own.path}${segments > 0 ? '/' : ''}${asSegment(textOf(value))}`;
      segments += 1;
    } else if (name === 'Uri-Query') own.queries.push(textOf(value));
    else if (name === 'Uri-Host') host ??= textOf(value).toLowerCase();
    else if (name === 'Proxy-Uri') proxied ??= textOf(value);
    else if (name === 'Proxy-Scheme') isProxied = true;
  }
  if (proxied !== undefined) {
    const named = parseUri(proxied);
    return named && proxyNames.includes(named.host) ? named : undefined;
  }
  return isProxied && !proxyNames.includes(host ?? '') ? undefined : own;
}

const textOf = (value: Buffer) => value.toString('utf8');

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
