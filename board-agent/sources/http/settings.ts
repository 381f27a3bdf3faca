import { isIP } from 'node:net';
import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import type { IntakeSettings } from '../../intake/types.ts';
import { intakeProperties, sourceNameSchema } from '../shared-schemas.ts';

export interface HttpSourceSettings extends IntakeSettings {
  kind: 'http';
  /** Unix socket, relative to the state folder; taken when there is no port. */
  socket: string;
  port?: number;
  host: string;
  /** File with the token that senders show as `Authorization: Bearer …`. */
  tokenFile?: string;
}

export const schema = {
  title: 'POST requests of scripts and programs on this host',
  type: 'object',
  required: ['kind', 'rules'],
  additionalProperties: false,
  properties: {
    kind: { const: 'http' },
    name: { ...sourceNameSchema, default: 'http' },
    socket: {
      description: 'Unix socket that is listened on when there is no port; relative to the state folder.',
      type: 'string',
      minLength: 1,
      maxLength: 100,
      default: 'http.sock',
    },
    port: { description: 'TCP port; 0 = any free one.', type: 'integer', minimum: 0, maximum: 65_535 },
    host: {
      description: 'Address for the port. Others than loopback need tokenFile.',
      type: 'string',
      minLength: 1,
      maxLength: 100,
      default: '127.0.0.1',
    },
    tokenFile: {
      description: 'File (mode 600) with the token that senders show as Authorization: Bearer.',
      type: 'string',
      minLength: 1,
      maxLength: 1000,
    },
    ...intakeProperties,
  },
};

export function isLoopback(host: string): boolean {
  return host === '::1' || host === 'localhost' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** What the schema cannot say: who can be reached from elsewhere asks for a token. */
export function checkSettings(settings: HttpSourceSettings, pointer: string): SchemaFault[] {
  const { port, host, tokenFile } = settings;
  if (isIP(host) === 0 && host !== 'localhost')
    return [{ pointer: `${pointer}/host`, message: 'must be an IP address or localhost' }];
  if (port === undefined || isLoopback(host) || tokenFile !== undefined) return [];
  return [
    { pointer: `${pointer}/tokenFile`, message: `is required: ${host} can be reached from other hosts` },
  ];
}
