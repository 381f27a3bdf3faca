/** Where a session comes from, out of the transport details that the router hands over. */
import { isIP } from 'node:net';

/**
 * The address of the peer without its port. `X-Forwarded-For` counts only when the peer itself is
 * a trusted proxy, and only its last entry: what stands before was written by the client.
 */
export function peerAddress(transport: unknown, trustedProxies: readonly string[]): string | undefined {
  if (typeof transport !== 'object' || transport === null) return undefined;
  const { peer, http_headers_received: headers } = transport as Record<string, unknown>;
  const direct = typeof peer === 'string' ? addressOf(peer) : undefined;
  if (direct === undefined || !trustedProxies.includes(direct)) return direct;
  const forwarded =
    typeof headers === 'object' && headers !== null
      ? (headers as Record<string, unknown>)['x-forwarded-for']
      : undefined;
  const last = typeof forwarded === 'string' ? forwarded.split(',').at(-1)?.trim() : undefined;
  return last !== undefined && isIP(last) !== 0 ? last : direct;
}

/** The router writes `tcp4:127.0.0.1:48638`, `tcp6:[::1]:48638` or `unix`. */
function addressOf(peer: string): string {
  const match = /^tcp[46]?:\[?(.+?)\]?:\d+$/.exec(peer);
  return (match?.[1] ?? peer).slice(0, 100);
}
