import { isIP } from 'node:net';
import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import type { IntakeSettings } from '../../intake/types.ts';
import { checkCommands } from '../commands/check.ts';
import { type CommandSettings, commandsSchema } from '../commands/settings.ts';
import { intakeProperties, sourceNameSchema } from '../shared-schemas.ts';
import type { ListenAddress } from './sockets.ts';

export interface CoapCommandSettings extends CommandSettings {
  request: {
    /** `coap://host[:port]/path?query`; placeholders in path and query. */
    uri: string;
    method: 'POST' | 'PUT' | 'GET';
    contentType: string;
  };
}

export interface CoapSourceSettings extends IntakeSettings {
  kind: 'coap';
  /** Whether other hosts may reach it: plain CoAP is neither encrypted nor authenticated. */
  public: boolean;
  port: number;
  listen?: ListenAddress[];
  proxyNames: string[];
  maxPayloadBytes: number;
  timeIntervalSeconds: number;
  commands: CoapCommandSettings[];
}

const requestSchema = {
  description: 'What is sent to the device; its answer is the response.',
  type: 'object',
  required: ['uri'],
  additionalProperties: false,
  properties: {
    uri: {
      description: 'coap://host[:port]/path?query, with {placeholders} of arguments after the host.',
      type: 'string',
      maxLength: 500,
      pattern: '^coap://[^/?#{}]+([/?].*)?$',
    },
    method: { type: 'string', enum: ['POST', 'PUT', 'GET'], default: 'POST' },
    contentType: {
      type: 'string',
      enum: ['application/json', 'text/plain', 'application/octet-stream'],
      default: 'application/json',
    },
  },
};

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
    commands: { ...commandsSchema(requestSchema), default: [] },
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

/** What the schema cannot say: addresses are addresses, who can be reached from elsewhere says so, and commands fit. */
export function checkSettings(settings: CoapSourceSettings, pointer: string): SchemaFault[] {
  return [...checkAddresses(settings, pointer), ...checkDeviceCommands(settings.commands, pointer)];
}

function checkAddresses(
  { listen = [], public: isPublic }: CoapSourceSettings,
  pointer: string,
): SchemaFault[] {
  return listen.flatMap(({ address }, index) => {
    const at = `${pointer}/listen/${index}/address`;
    if (isIP(address) === 0) return [{ pointer: at, message: 'must be an IP address' }];
    if (isPublic || isLoopback(address)) return [];
    return [{ pointer: at, message: 'can be reached from other hosts: that needs public: true' }];
  });
}

function checkDeviceCommands(commands: CoapCommandSettings[], pointer: string): SchemaFault[] {
  const own = checkCommands(commands, `${pointer}/commands`, ({ request }) => ({
    'request/uri': request.uri,
  }));
  const topics = commands.flatMap(({ answer, status, error }, index) => {
    const at = `${pointer}/commands/${index}`;
    const places = { 'answer/topic': answer?.topic, status, error };
    return Object.entries(places)
      .filter(([, value]) => value !== undefined)
      .map(([place]) => ({
        pointer: `${at}/${place}`,
        message: 'is not for CoAP: the answer is the response',
      }));
  });
  return [...own, ...topics];
}
