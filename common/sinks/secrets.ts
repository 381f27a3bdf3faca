/** Secrets of sinks, sealed as those of webhooks are. */
import { AppError } from '../runtime/app-error.ts';
import { openSecret, sealSecret } from '../webhooks/secrets.ts';

export type SinkSecrets = Record<string, string>;

/** What is stored; null = there are none. */
export function sealSinkSecrets(
  installationKey: string,
  sinkId: string,
  secrets: SinkSecrets,
): Buffer | null {
  if (Object.keys(secrets).length === 0) return null;
  return sealSecret(installationKey, sinkId, JSON.stringify(secrets));
}

/** Throws AppError `conflict` when they were sealed under another key or for another sink. */
export function openSinkSecrets(installationKey: string, sinkId: string, sealed: Buffer | null): SinkSecrets {
  if (!sealed) return {};
  try {
    return JSON.parse(openSecret(installationKey, sinkId, sealed)) as SinkSecrets;
  } catch (cause) {
    throw new AppError('conflict', 'its secrets cannot be read any more; give it new ones', { cause });
  }
}
