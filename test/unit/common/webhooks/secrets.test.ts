import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  createWebhookSecret,
  openSecret,
  sealSecret,
  signBody,
} from '../../../../common/webhooks/secrets.ts';

describe('the secret of a webhook', () => {
  it('is stored unreadably, and read with the key and for the webhook that it was stored for', () => {
    const secret = createWebhookSecret();
    expect(secret).toMatch(/^whsec_[a-z2-7]{32}$/);
    const sealed = sealSecret('key', 'webhook', secret);
    expect(sealed.toString('latin1')).not.toContain(secret);
    expect(sealSecret('key', 'webhook', secret).equals(sealed)).toBe(false);
    expect(openSecret('key', 'webhook', sealed)).toBe(secret);
    expect(() => openSecret('other', 'webhook', sealed)).toThrow();
    expect(() => openSecret('key', 'other', sealed)).toThrow();
  });

  it('signs time and body', () => {
    const digest = createHmac('sha256', 'whsec_x').update('1700000000.{"a":1}').digest('hex');
    expect(signBody('whsec_x', 1_700_000_000, '{"a":1}')).toBe(`t=1700000000,v1=${digest}`);
  });
});
