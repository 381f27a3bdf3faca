/** Parts of settings schemas that several kinds of sources have. */
import { moduleLimits, moduleNameLength, moduleNamePattern } from '../../common/wamp/modules.ts';
import { readingsLimits } from '../../common/wamp/readings.ts';

/** Name of a module of the board. */
export const moduleSchema = {
  type: 'string',
  minLength: 1,
  maxLength: moduleNameLength,
  pattern: moduleNamePattern.source,
} as const;

const ruleSchema = {
  type: 'object',
  required: ['match', 'decoder'],
  additionalProperties: false,
  properties: {
    match: {
      description:
        'Topic or path. {name} takes a segment or a part of one, + any segment, a last # the rest. One leading slash says nothing.',
      type: 'string',
      minLength: 1,
      maxLength: 300,
    },
    decoder: {
      description: 'Name of a decoder, or file:<path> of a JavaScript module.',
      type: 'string',
      minLength: 1,
      maxLength: 1000,
    },
    module: { ...moduleSchema, description: 'Module, where neither message nor path name one.' },
    prefix: {
      description: 'Put before the names of the measurements.',
      type: 'string',
      maxLength: 60,
      pattern: '^[A-Za-z0-9_][A-Za-z0-9_./:-]*$',
    },
    units: {
      description: 'Units of measurements, e.g. {"temp": "Cel"}.',
      type: 'object',
      maxProperties: 500,
      additionalProperties: { type: 'string', maxLength: readingsLimits.unitLength },
    },
    options: { description: 'Of the decoder.', type: 'object', maxProperties: 50 },
  },
};

/** What every source that hears messages has beside its own settings: IntakeSettings. */
export const intakeProperties = {
  rules: {
    description: 'What is made of a message: the first rule whose pattern fits its topic or path.',
    type: 'array',
    minItems: 1,
    maxItems: 200,
    items: ruleSchema,
  },
  maxPerSecond: {
    description: 'Messages of one device per second, in the mean of ten seconds; more are refused.',
    type: 'number',
    exclusiveMinimum: 0,
    maximum: 100_000,
    default: 100,
  },
  macKeyFiles: {
    description:
      'Devices that sign their messages: name of the module, file (mode 600) that holds its key; two files while the key is changed.',
    type: 'object',
    maxProperties: moduleLimits.perBoard,
    additionalProperties: {
      type: ['string', 'array'],
      minLength: 1,
      maxLength: 1000,
      minItems: 1,
      maxItems: 2,
      items: { type: 'string', minLength: 1, maxLength: 1000 },
    },
    default: {},
  },
  macRequired: {
    description: 'Refuse messages of devices that have no key.',
    type: 'boolean',
    default: false,
  },
} as const;

/** Name of a source in counts, dead letters and the API. */
export const sourceNameSchema = {
  ...moduleSchema,
  description: 'In counts, dead letters and the API.',
} as const;
