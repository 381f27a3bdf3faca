import { moduleSchema } from '../shared-schemas.ts';

export interface SystemSourceSettings {
  kind: 'system';
  module: string;
  intervalMs: number;
  mounts: string[];
}

export const schema = {
  title: 'Figures of the host: CPU, memory, load, disks, network, temperature',
  type: 'object',
  required: ['kind'],
  additionalProperties: false,
  properties: {
    kind: { const: 'system' },
    module: { ...moduleSchema, default: 'system' },
    intervalMs: { type: 'integer', minimum: 100, maximum: 3_600_000, default: 5000 },
    mounts: {
      description: 'Mount points whose use is measured.',
      type: 'array',
      minItems: 0,
      maxItems: 20,
      items: { type: 'string', minLength: 1, maxLength: 80, pattern: '^/[A-Za-z0-9_./:-]*$' },
      default: ['/'],
    },
  },
};
