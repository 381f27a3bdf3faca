import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type FaultyProxy, startFaultyProxy } from '../../harness/faulty-proxy.ts';
import { until } from '../../harness/until.ts';

describe('the faulty proxy', () => {
  const accepted = new Set<Socket>();
  let echo: Server;
  let proxy: FaultyProxy;
  let client: Socket;
  let received: string;

  beforeAll(async () => {
    echo = createServer((socket) => {
      accepted.add(socket.on('error', () => undefined));
      socket.on('close', () => accepted.delete(socket));
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
  });
  afterAll(() => void echo.close());

  beforeEach(async () => {
    proxy = await startFaultyProxy({ port: (echo.address() as AddressInfo).port });
    client = connect(proxy.port, '127.0.0.1').on('error', () => undefined);
    received = '';
    client.on('data', (chunk) => {
      received += String(chunk);
    });
    await once(client, 'connect');
    client.write('one ');
    await until('the first echo', () => received === 'one ');
  });
  afterEach(async () => {
    client.destroy();
    await proxy.close();
  });

  it('holds everything back while frozen and delivers it after the thaw', async () => {
    proxy.setMode('freeze');
    client.write('two');
    await expect(until('an echo', () => received !== 'one ', { timeoutMs: 150 })).rejects.toThrow();
    expect(client.destroyed).toBe(false);
    proxy.setMode('pass');
    await until('the second echo', () => received === 'one two');
  });

  it('hides the end of the other side while frozen', async () => {
    proxy.setMode('freeze');
    for (const socket of accepted) socket.destroy();
    await expect(until('an end', () => client.destroyed, { timeoutMs: 150 })).rejects.toThrow();
    proxy.setMode('pass');
    await until('the end', () => client.destroyed || client.readableEnded);
  });

  it('accepts connections while frozen, but nothing gets through', async () => {
    proxy.setMode('freeze');
    const second = connect(proxy.port, '127.0.0.1').on('error', () => undefined);
    await once(second, 'connect');
    let answer = '';
    second.on('data', (chunk) => {
      answer += String(chunk);
    });
    second.write('three');
    await expect(until('an echo', () => answer, { timeoutMs: 150 })).rejects.toThrow();
    proxy.setMode('pass');
    await until('the echo', () => answer === 'three');
    second.destroy();
  });

  it('cuts open connections and refuses new ones while dropping', async () => {
    proxy.setMode('drop');
    await until('the cut', () => client.destroyed);
    const second = connect(proxy.port, '127.0.0.1').on('error', () => undefined);
    await until('the refusal', () => second.destroyed);
    expect(proxy.connections()).toBe(0);
  });

  it('keeps the order of what it delays, also when the delay gets shorter', async () => {
    proxy.setMode({ delayMs: 80 });
    const sentAt = performance.now();
    client.write('two ');
    await until('the chunk is on its way', () => performance.now() - sentAt > 20);
    proxy.setMode({ delayMs: 10 });
    client.write('three');
    await until('both echoes', () => received.endsWith('three'));
    expect(received).toBe('one two three');
    expect(performance.now() - sentAt).toBeGreaterThan(80);
  });
});
