import type { EnvReader } from '../runtime/config.ts';
import type { WebhookConfig } from '../webhooks/config.ts';

export interface SinkConfig {
  /** What secrets are encrypted under: the key of webhooks. */
  key: string;
  /** Targets may have private and loopback addresses. */
  allowPrivate: boolean;
  /** Where sinks of kind `file` write; undefined = there are none. */
  dir: string | undefined;
}

export function readSinkConfig(reader: EnvReader, webhooks: WebhookConfig): SinkConfig {
  return {
    key: webhooks.key,
    allowPrivate: reader.boolean('BOARDWALK_SINK_ALLOW_PRIVATE', webhooks.allowPrivate),
    dir: reader.optional('BOARDWALK_SINK_DIR'),
  };
}
