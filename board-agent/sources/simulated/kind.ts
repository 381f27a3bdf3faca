import { defineSourceKind } from '../source-kind.ts';
import { checkStreams, type SimulatedSourceSettings, schema } from './settings.ts';
import { createSimulatedSource } from './simulated.ts';

export const sourceKind = defineSourceKind<SimulatedSourceSettings>({
  schema,
  check: checkStreams,
  create: createSimulatedSource,
});
