import type { SchemaFault } from '../../../common/wamp/schema-check.ts';
import type { IntakeSettings } from '../../intake/types.ts';
import { intakeProperties, sourceNameSchema } from '../shared-schemas.ts';

export interface LineSourceSettings extends IntakeSettings {
  kind: 'line';
  /** Program and arguments; its standard output is read. No shell is involved. */
  command?: string[];
  /** A regular file that grows. */
  file?: string;
  /** What rules match; default: the name of the source. */
  path?: string;
}

export const schema = {
  title: 'Lines of text from a command or a growing file',
  type: 'object',
  required: ['kind', 'rules'],
  additionalProperties: false,
  properties: {
    kind: { const: 'line' },
    name: { ...sourceNameSchema, default: 'line' },
    command: {
      description: 'Program and its arguments, without a shell, e.g. ["cat", "/dev/ttyUSB0"].',
      type: 'array',
      minItems: 1,
      maxItems: 50,
      items: { type: 'string', maxLength: 1000 },
    },
    file: {
      description: 'Regular file that is followed, also when it is rotated.',
      type: 'string',
      minLength: 1,
      maxLength: 1000,
    },
    path: {
      description: 'What the patterns of the rules are held against; default: the name of the source.',
      type: 'string',
      minLength: 1,
      maxLength: 300,
    },
    ...intakeProperties,
  },
};

/** What the schema cannot say: one of the two. */
export function checkSettings({ command, file }: LineSourceSettings, pointer: string): SchemaFault[] {
  if ((command === undefined) !== (file === undefined)) return [];
  return [{ pointer, message: 'must have either command or file' }];
}
