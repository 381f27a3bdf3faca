import type { EnvReader } from '../runtime/config.ts';

export interface WebhookConfig {
  /** What the keys of signatures are encrypted under; another one makes them unreadable. */
  key: string;
  /** URLs may lead to private and loopback addresses. */
  allowPrivate: boolean;
}

/** @param relayKey stands in for a key that is not set */
export function readWebhookConfig(reader: EnvReader, relayKey: string): WebhookConfig {
  return {
    key: reader.string('BOARDWALK_WEBHOOK_KEY', relayKey),
    allowPrivate: reader.boolean('BOARDWALK_WEBHOOK_ALLOW_PRIVATE', false),
  };
}
