import { defineSourceKind } from '../source-kind.ts';
import { createMqttSource } from './mqtt.ts';
import { checkSettings, type MqttSourceSettings, schema } from './settings.ts';

export const sourceKind = defineSourceKind<MqttSourceSettings>({
  schema,
  check: checkSettings,
  create: createMqttSource,
});
