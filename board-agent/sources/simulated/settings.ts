import type { ReadingType, ReadingValue } from '../../../common/wamp/readings.ts';
import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import { moduleSchema } from '../shared-schemas.ts';

export const waveforms = [
  'sine',
  'square',
  'triangle',
  'random-walk',
  'counter',
  'constant',
  'cycle',
] as const;

export interface SimulatedStreamSettings {
  name: string;
  waveform: (typeof waveforms)[number];
  type: ReadingType;
  unit: string;
  rateHz: number;
  periodMs: number;
  amplitude: number;
  offset: number;
  values?: ReadingValue[];
}

export interface SimulatedSourceSettings {
  kind: 'simulated';
  module: string;
  seed: number;
  streams: SimulatedStreamSettings[];
}

const streamSchema = {
  type: 'object',
  required: ['name', 'waveform'],
  additionalProperties: false,
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 80, pattern: '^[A-Za-z0-9_][A-Za-z0-9_./:-]*$' },
    waveform: { type: 'string', enum: waveforms },
    type: { type: 'string', enum: ['number', 'boolean', 'text'], default: 'number' },
    unit: { description: 'UCUM where one exists.', type: 'string', maxLength: 30, default: '' },
    rateHz: {
      description: 'Readings a second.',
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 1000,
      default: 1,
    },
    periodMs: { type: 'number', exclusiveMinimum: 0, maximum: 31_536_000_000, default: 60_000 },
    amplitude: { type: 'number', default: 1 },
    offset: { type: 'number', default: 0 },
    values: {
      description: 'What `constant` (the first) and `cycle` (one per period, in turn) give.',
      type: 'array',
      minItems: 1,
      maxItems: 100,
      items: { type: ['number', 'boolean', 'string'], maxLength: 2000 },
    },
  },
};

export const schema = {
  title: 'Declared waveforms, for demos and tests',
  type: 'object',
  required: ['kind', 'streams'],
  additionalProperties: false,
  properties: {
    kind: { const: 'simulated' },
    module: { ...moduleSchema, default: 'simulated' },
    seed: {
      description: 'Of the random walks.',
      type: 'integer',
      minimum: 0,
      maximum: 4_294_967_295,
      default: 1,
    },
    streams: { type: 'array', minItems: 1, maxItems: 500, items: streamSchema },
  },
};

/** What the schema cannot say: values fit their type, and a name is used once. */
export function checkStreams(source: SimulatedSourceSettings, pointer: string): SchemaFault[] {
  const faults: SchemaFault[] = [];
  const names = new Set<string>();
  for (const [index, stream] of source.streams.entries()) {
    const at = `${pointer}/streams/${index}`;
    if (names.has(stream.name))
      faults.push({ pointer: `${at}/name`, message: `'${stream.name}' is used twice` });
    names.add(stream.name);
    const wanted = stream.type === 'text' ? 'string' : stream.type;
    const needsValues = stream.waveform === 'cycle' || stream.type === 'text';
    if (needsValues && stream.values === undefined)
      faults.push({ pointer: `${at}/values`, message: 'is required for text and for the waveform cycle' });
    if (stream.values?.some((each) => typeof each !== wanted))
      faults.push({ pointer: `${at}/values`, message: `must hold values of type ${stream.type} only` });
    if (stream.type === 'text' && stream.waveform !== 'cycle' && stream.waveform !== 'constant')
      faults.push({ pointer: `${at}/waveform`, message: 'must be cycle or constant for text' });
  }
  return faults;
}
