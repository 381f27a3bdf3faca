import { defineSourceKind } from '../source-kind.ts';
import { createCoapSource } from './coap.ts';
import { type CoapSourceSettings, checkSettings, schema } from './settings.ts';

export const sourceKind = defineSourceKind<CoapSourceSettings>({
  schema,
  check: checkSettings,
  create: createCoapSource,
});
