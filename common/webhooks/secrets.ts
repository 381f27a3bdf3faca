/**
 * Keys of webhooks' signatures. They cannot be hashed, because each request is signed with them; they
 * are stored encrypted under a key of the installation, bound to their webhook.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { randomToken } from '../runtime/secrets.ts';

const ivLength = 12;
const tagLength = 16;

export function createWebhookSecret(): string {
  return `whsec_${randomToken()}`;
}

function encryptionKey(installationKey: string): Buffer {
  return Buffer.from(hkdfSync('sha256', installationKey, '', 'boardwalk webhook secrets', 32));
}

/** What is stored: iv, tag, text. */
export function sealSecret(installationKey: string, webhookId: string, secret: string): Buffer {
  const iv = randomBytes(ivLength);
  const cipher = createCipheriv('aes-256-gcm', encryptionKey(installationKey), iv);
  cipher.setAAD(Buffer.from(webhookId, 'utf8'));
  const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]);
}

/** Throws when it was sealed under another key or for another webhook. */
export function openSecret(installationKey: string, webhookId: string, sealed: Buffer): string {
  const iv = sealed.subarray(0, ivLength);
  const decipher = createDecipheriv('aes-256-gcm', encryptionKey(installationKey), iv);
  decipher.setAAD(Buffer.from(webhookId, 'utf8'));
  decipher.setAuthTag(sealed.subarray(ivLength, ivLength + tagLength));
  return decipher.update(sealed.subarray(ivLength + tagLength), undefined, 'utf8') + decipher.final('utf8');
}

/**
 * Value of the header `Boardwalk-Signature`.
 * @param seconds time of sending, since 1970
 */
export function signBody(secret: string, seconds: number, body: string): string {
  const digest = createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
  return `t=${seconds},v1=${digest}`;
}
