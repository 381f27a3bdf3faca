/** Parts of settings schemas that several kinds of sources have. */
import { moduleNameLength, moduleNamePattern } from '../../common/wamp/modules.ts';

/** Name of a module of the board. */
export const moduleSchema = {
  type: 'string',
  minLength: 1,
  maxLength: moduleNameLength,
  pattern: moduleNamePattern.source,
} as const;
