import { defineSourceKind } from '../source-kind.ts';
import { createLineSource } from './line.ts';
import { checkSettings, type LineSourceSettings, schema } from './settings.ts';

export const sourceKind = defineSourceKind<LineSourceSettings>({
  schema,
  check: checkSettings,
  create: createLineSource,
});
