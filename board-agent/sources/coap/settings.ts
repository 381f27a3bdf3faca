import { isIP } from 'node:net';
import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import type { IntakeSettings } from '../../intake/types.ts';
import { intakeProperties, sourceNameSchema } from '../shared-schemas.ts';
import type { ListenAddress } from './sockets.ts';

export interface CoapSourceSettings extends IntakeSettings {
  kind: 'coap';
  /** Whether other hosts may reach it: plain CoAP is neither encrypted nor authenticated. */
  public: boolean;
  port: number;
  listen?: ListenAddress[];
  proxyNames: string[];
  maxPayloadBytes: number;
  timeIntervalSeconds: number;
}

export const schema = {
  title: 'Devices that speak CoAP',
  type: 'object',
  required: ['kind', 'rules'],
  additionalProperties: false,
  properties: {
    kind: { const: 'coap' },
    name: { ...sourceNameSchema, default: 'coap' },
    public: {
      description:
        'Whether other hosts may reach it. Plain CoAP is neither encrypted nor authenticated: see macRequired, or put a DTLS terminator in front.',
      type: 'boolean',
      default: false,
    },
    port: {
      description:
        'UDP port where `listen` is left out: on loopback, or with `public` on all addresses, IPv6 and IPv4.',
      type: 'integer',
      minimum: 0,
      maximum: 65_535,
      default: 5683,
    },
    listen: {
      description:
        'Addresses to listen on. `::` is all, of IPv6 and IPv4. Others than loopback need `public`.',
      type: 'array',
      minItems: 1,
      maxItems: 16,
      items: {
        type: 'object',
        required: ['address'],
        additionalProperties: false,
        properties: {
          address: { type: 'string', minLength: 2, maxLength: 64 },
          port: { type: 'integer', minimum: 0, maximum: 65_535, default: 5683 },
        },
      },
    },
    proxyNames: {
      description:
        'Names that a DTLS terminator on this host is asked for (`coap-server-openssl -P coap://127.0.0.1:5683,<name>`). Nothing is ever forwarded.',
      type: 'array',
      maxItems: 50,
      items: { type: 'string', minLength: 1, maxLength: 253, pattern: '^[a-z0-9.:\\[\\]-]+$' },
      default: [],
    },
    maxPayloadBytes: {
      description: 'Largest body of a message, also of one that comes in blocks.',
      type: 'integer',
      minimum: 64,
      maximum: 65_536,
      default: 65_536,
    },
    timeIntervalSeconds: {
      description: 'How often observers of the resource `time` are told.',
      type: 'number',
      minimum: 1,
      maximum: 3600,
      default: 1,
    },
    ...intakeProperties,
  },
};

export function addressesOf({ listen, port, public: isPublic }: CoapSourceSettings): ListenAddress[] {
  if (listen) return listen;
  return isPublic
    ? [{ address: '::', port }]
    : [
        { address: '::1', port },
        { address: '127.0.0.1', port },
      ];
}

const isLoopback = (address: string) =>
  address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));

/** What the schema cannot say: addresses are addresses, and who can be reached from elsewhere says so. */
export function checkSettings(settings: CoapSourceSettings, pointer: string): SchemaFault[] {
  return (settings.listen ?? []).flatMap(({ address }, index) => {
    const at = `${pointer}/listen/${index}/address`;
    if (isIP(address) === 0) return [{ pointer: at, message: 'must be an IP address' }];
    if (settings.public || isLoopback(address)) return [];
    return [{ pointer: at, message: `can be reached from other hosts: that needs public: true` }];
  });
}
