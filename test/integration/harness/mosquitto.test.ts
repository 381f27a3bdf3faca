import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMosquitto, type TestMosquitto } from '../../harness/mosquitto.ts';

describe("the tests' broker", () => {
  let broker: TestMosquitto;

  beforeAll(async () => {
    broker = await startMosquitto({
      tls: true,
      passwords: { hv: 'secret of hv', reader: 'secret of reader' },
      acl: ['user hv', 'topic readwrite /hv/#', 'user reader', 'topic read #'],
    });
  });
  afterAll(() => broker?.stop());

  const hv = { username: 'hv', password: 'secret of hv' };
  const reader = { username: 'reader', password: 'secret of reader' };

  it('carries messages between its own clients, and says what a topic retains', async () => {
    await broker.publish('/hv/status', '{"on":1}', { ...hv, retain: true });
    expect(await broker.subscribe('/hv/#', reader)).toEqual([
      expect.objectContaining({ topic: '/hv/status', payload: '{"on":1}' }),
    ]);
  });

  it('refuses the nameless and wrong passwords', async () => {
    await expect(broker.publish('/hv/status', 'x')).rejects.toThrow(/not authori[sz]ed/i);
    await expect(broker.publish('/hv/status', 'x', { ...hv, password: 'no' })).rejects.toThrow(
      /not authori[sz]ed/i,
    );
  });

  it('drops what an account may not publish', async () => {
    await broker.publish('/lv/status', 'not for you', { ...hv, retain: true });
    await expect(broker.subscribe('/lv/status', { ...reader, timeoutMs: 1_000 })).rejects.toThrow();
  });

  it('speaks TLS under a certificate of its own', async () => {
    await broker.publish('/hv/tls', 'sealed', { ...hv, tls: true, retain: true });
    expect(await broker.subscribe('/hv/tls', { ...reader, tls: true })).toMatchObject([
      { payload: 'sealed' },
    ]);
  });

  it('keeps what it retains and what it queued for a session over a restart', async () => {
    const session = { ...reader, args: ['-c', '-i', 'kept-session'] };
    await broker.publish('/hv/first', '1', { ...hv, retain: true });
    await broker.subscribe('/hv/first', session);
    await broker.publish('/hv/first', '2', hv);
    const before = broker.pid();
    await broker.restart();
    expect(broker.pid()).not.toBe(before);
    const messages = await broker.subscribe('/hv/first', { ...session, count: 2 });
    expect(messages.map(({ payload }) => payload).sort()).toEqual(['1', '2']);
  });

  it('takes its folder with it', async () => {
    const other = await startMosquitto({ tls: true });
    const folder = dirname(dirname(other.tls?.ca ?? ''));
    expect(existsSync(folder)).toBe(true);
    await other.stop();
    expect(existsSync(folder)).toBe(false);
  });
});
