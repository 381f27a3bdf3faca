/**
 * Where a webhook may lead. Whoever can make webhooks could otherwise have this network's own services
 * called: a name is resolved, every address of it is looked at, and the connection goes to the very
 * address that was looked at, so that a name that changes its mind gains nothing.
 */
import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { AppError } from '../runtime/app-error.ts';
import { within } from '../runtime/within.ts';

export interface Address {
  address: string;
  family: 4 | 6;
}

const lookupMs = 5000;

/** Not reachable from everywhere, by IANA's registry of special addresses; and multicast. */
const special4 = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  special4.addSubnet(network, bits, 'ipv4');

/** All of the unicast addresses that are given out; what is outside (mapped, local, multicast) is special. */
const global6 = new BlockList();
global6.addSubnet('2000::', 3, 'ipv6');
const special6 = new BlockList();
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  // Lead to IPv4 addresses that stand inside.
  ['2002::', 16],
  ['3fff::', 20],
] as const)
  special6.addSubnet(network, bits, 'ipv6');

export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !special4.check(address, 'ipv4');
  // With a zone it is a link's.
  if (family !== 6 || address.includes('%')) return false;
  return global6.check(address, 'ipv6') && !special6.check(address, 'ipv6');
}

/** Throws AppError `invalid-request` unless it is an http or https URL without credentials. */
export function parseWebhookUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw refuse('must be an http or https URL');
  if (url.username !== '' || url.password !== '') throw refuse('must not hold a user name or password');
  if (url.hash !== '') throw refuse('must not have a fragment');
  return url;
}

/**
 * The addresses that a URL leads to, all of them allowed. Throws AppError `invalid-request` naming `url`
 * when one is not, or when the name is unknown.
 */
export async function resolveWebhook(
  url: URL,
  { allowPrivate }: { allowPrivate: boolean },
): Promise<Address[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const family = isIP(host);
  const addresses = family === 0 ? await findAddresses(host) : [{ address: host, family }];
  if (!allowPrivate && !addresses.every(({ address }) => isPublicAddress(address)))
    throw refuse('leads to an address that is private or not reachable from everywhere');
  return addresses as Address[];
}

async function findAddresses(host: string): Promise<{ address: string; family: number }[]> {
  try {
    const found = await within(lookupMs, lookup(host, { all: true, verbatim: false }));
    if (found.length > 0) return found;
  } catch (cause) {
    throw refuse('has a host whose address cannot be found', cause);
  }
  throw refuse('has a host without an address');
}

function refuse(detail: string, cause?: unknown): AppError {
  return new AppError('invalid-request', `url ${detail}`, {
    cause,
    details: { errors: [{ pointer: '/url', detail }] },
  });
}
