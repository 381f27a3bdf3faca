/** The schema of the settings file, put together from the kinds of sources. settings.schema.json is made of it. */
import { sourceKinds } from './sources/kinds.ts';

export const spoolSchema = {
  description:
    'Bounds of what is kept on disk while the server cannot be reached. The oldest readings go first.',
  type: 'object',
  additionalProperties: false,
  properties: {
    maxBytes: {
      description:
        'Of the file. Messages of devices are refused above 90 % of it, dead letters take a quarter at most.',
      type: 'integer',
      minimum: 1_048_576,
      maximum: 1_099_511_627_776,
      default: 268_435_456,
    },
    maxAgeDays: {
      description: 'What has waited longer is dropped, and counted.',
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 3650,
      default: 30,
    },
    commitIntervalMs: {
      description: 'Longest time that a reading is in memory only. Each commit is one flush of the disk.',
      type: 'integer',
      minimum: 10,
      maximum: 60_000,
      default: 200,
    },
  },
};

export const settingsSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Settings of the Boardwalk board agent',
  description:
    'settings.yaml, settings.yml or settings.json in the state folder, or the file named with --settings. Every member may be left out.',
  type: 'object',
  additionalProperties: false,
  properties: {
    logLevel: {
      description: 'How much is logged. BOARDWALK_AGENT_LOG_LEVEL wins.',
      type: 'string',
      enum: ['error', 'warn', 'info', 'debug', 'silent'],
      default: 'info',
    },
    connectivity: {
      description: 'How this board is connected, when it cannot find out by itself.',
      type: 'string',
      enum: ['ethernet', 'wifi', 'cellular', 'unknown'],
    },
    spool: spoolSchema,
    sources: {
      description: "Where readings come from. Left out: the host's own figures.",
      type: 'array',
      maxItems: 200,
      items: { anyOf: sourceKinds.map((each) => each.schema) },
    },
  },
};
