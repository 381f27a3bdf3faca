import { defineSourceKind } from '../source-kind.ts';
import { type SystemSourceSettings, schema } from './settings.ts';
import { createSystemSource } from './system.ts';

export const sourceKind = defineSourceKind<SystemSourceSettings>({ schema, create: createSystemSource });
