import { describe, expect, it } from 'vitest';
import { isPublicAddress, parseWebhookUrl, resolveWebhook } from '../../../../common/webhooks/addresses.ts';

describe('an address', () => {
  it.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '127.255.255.254',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '198.18.0.1',
    '203.0.113.5',
    '224.0.0.1',
    '239.255.255.250',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:8.8.8.8',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001::1',
    '2001:db8::1',
    'fc00::1',
    'fd12:3456::1',
    'fe80::1',
    'fe80::1%eth0',
    'fec0::1',
    'ff02::1',
    'localhost',
  ])('%s is not for webhooks', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '100.63.255.255',
    '100.128.0.0',
    '172.32.0.1',
    '2606:4700:4700::1111',
    '2a00:1450::1',
  ])('%s is', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });
});

describe('a URL', () => {
  it.each([
    'ftp://example.org/',
    'file:///etc/passwd',
    'example.org',
    'https://user:secret@example.org/',
    'https://example.org/#x',
  ])('%s is refused', (text) => {
    expect(() => parseWebhookUrl(text)).toThrow(/^url /);
  });

  const lead = (text: string, allowPrivate = false) =>
    resolveWebhook(parseWebhookUrl(text), { allowPrivate });

  it.each([
    'http://localhost/',
    'http://localhost.:8812/',
    'http://127.1/',
    'http://0x7f.0.0.1/',
    'http://2130706433/',
    'http://[::1]/',
    'http://[::ffff:10.0.0.1]/',
    'http://0/',
  ])('%s, however it is written, leads nowhere that is allowed', async (text) => {
    await expect(lead(text)).rejects.toMatchObject({
      code: 'invalid-request',
      details: { errors: [{ pointer: '/url' }] },
    });
  });

  it('of a public address is allowed, of a loopback one where the installation says so', async () => {
    expect(await lead('https://1.1.1.1/x')).toEqual([{ address: '1.1.1.1', family: 4 }]);
    expect(await lead('https://[2606:4700:4700::1111]/')).toEqual([
      { address: '2606:4700:4700::1111', family: 6 },
    ]);
    expect((await lead('http://localhost/', true)).length).toBeGreaterThan(0);
  });
});
