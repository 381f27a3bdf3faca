/** A CoAP source at a free port. */
import { findFreeUdpPort } from '../../harness/udp-coap.ts';
import { type OpenOptions, type OpenSource, openSource } from './source-support.ts';

export type CleanUp = (() => unknown)[];

export async function openCoapSource(
  cleanUp: CleanUp,
  settings: object = {},
  take?: OpenOptions['take'],
): Promise<OpenSource & { port: number }> {
  const port = await findFreeUdpPort();
  const wanted = { kind: 'coap', port, rules: [{ match: 'r', decoder: 'json' }], ...settings };
  const opened = await openSource(wanted, take && { take });
  cleanUp.push(opened.close);
  return Object.assign(opened, { port });
}
