/** Every kind of sink. A new one is a module beside these, its settings, and a line here. */
import { parseSinkSettings, type SecretsOf, type SinkKind } from '../../common/sinks/settings.ts';
import { createFileTarget } from './file.ts';
import { createInfluxTarget } from './influx.ts';
import { createMqttTarget } from './mqtt.ts';
import type { SinkTarget, TargetContext } from './sink-kind.ts';
import { createWebhookTarget } from './webhook.ts';

type Creator = (settings: unknown, secrets: Record<string, string>, context: TargetContext) => SinkTarget;

const creators: { [K in SinkKind]: Creator } = {
  influx: (settings, secrets: SecretsOf['influx'], context) =>
    createInfluxTarget(parseSinkSettings('influx', settings), secrets, context),
  webhook: (settings, secrets: SecretsOf['webhook'], context) =>
    createWebhookTarget(parseSinkSettings('webhook', settings), secrets, context),
  mqtt: (settings, secrets: SecretsOf['mqtt'], context) =>
    createMqttTarget(parseSinkSettings('mqtt', settings), secrets, context),
  file: (settings, _secrets, context) => createFileTarget(parseSinkSettings('file', settings), context),
};

/** Throws AppError `invalid-arguments` for settings that are none. */
export function createTarget(
  kind: SinkKind,
  settings: unknown,
  secrets: Record<string, string>,
  context: TargetContext,
): SinkTarget {
  return creators[kind](settings, secrets, context);
}
