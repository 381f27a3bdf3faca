import { defineSourceKind } from '../source-kind.ts';
import { createHttpSource } from './http.ts';
import { checkSettings, type HttpSourceSettings, schema } from './settings.ts';

export const sourceKind = defineSourceKind<HttpSourceSettings>({
  schema,
  check: checkSettings,
  create: createHttpSource,
});
