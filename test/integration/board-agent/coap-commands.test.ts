/** Procedures of devices that a CoAP source carries, against a device that speaks CoAP. */
import { createServer, type IncomingMessage, type OutgoingMessage, type Server } from 'coap';
import { afterEach, describe, expect, it } from 'vitest';
import { parseSettings } from '../../../board-agent/settings.ts';
import type { BoardProcedure } from '../../../board-agent/sources/source.ts';
import type { JsonObject } from '../../../common/runtime/guards.ts';
import { findFreeUdpPort } from '../../harness/udp-coap.ts';
import { type CleanUp, openCoapSource } from './coap-support.ts';

const cleanUp: CleanUp = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

async function startDevice(
  answer: (request: IncomingMessage, response: OutgoingMessage) => void,
): Promise<number> {
  const port = await findFreeUdpPort();
  const device: Server = createServer({ type: 'udp6' }, answer);
  await new Promise<void>((done) => void device.listen(port, '::1', () => done()));
  cleanUp.push(() => new Promise<void>((done) => void device.close(() => done())));
  return port;
}

const commandsOf = (port: number) => [
  {
    module: 'hv',
    name: 'switch',
    kwargs: {
      properties: { channel: { type: 'integer' }, on: { type: 'boolean' } },
      required: ['channel', 'on'],
    },
    timeoutMs: 1000,
    request: { uri: `coap://[::1]:${port}/channels/{channel}?by={module}`, method: 'PUT' },
    payload: { on: '{on}' },
    answer: { result: 'state', refused: { ok: false }, message: 'why' },
  },
];

async function call(port: number, kwargs: JsonObject): Promise<unknown> {
  const { source } = await openCoapSource(cleanUp, { commands: commandsOf(port) });
  const [procedure] = source.procedures as [BoardProcedure];
  expect(procedure.contract.name).toBe('hv.switch');
  return procedure.run(kwargs, { signal: new AbortController().signal });
}

describe('a command to a device by CoAP', () => {
  it('sends the request, and its response is the result', async () => {
    const heard: unknown[] = [];
    const port = await startDevice(({ method, url, payload, headers }, response) => {
      heard.push({ method, url, payload: payload.toString(), type: headers['Content-Format'] });
      response.code = '2.04';
      response.end('{"ok":true,"state":"on"}');
    });
    expect(await call(port, { channel: 3, on: true })).toBe('on');
    expect(heard).toEqual([
      { method: 'PUT', url: '/channels/3?by=hv', payload: '{"on":true}', type: 'application/json' },
    ]);
  });

  it('fails with the words of the device, whether it refuses in the body or by its code', async () => {
    const port = await startDevice(({ url }, response) => {
      const inBody = url.startsWith('/channels/1');
      response.code = inBody ? '2.04' : '4.04';
      response.end(inBody ? '{"ok":false,"why":"interlock"}' : 'no such channel');
    });
    await expect(call(port, { channel: 1, on: true })).rejects.toMatchObject({
      code: 'procedure-failed',
      message: 'interlock',
    });
    await expect(call(port, { channel: 2, on: true })).rejects.toMatchObject({
      code: 'procedure-failed',
      message: 'no such channel',
    });
  });

  it('ends at the deadline when nobody answers', async () => {
    await expect(call(await findFreeUdpPort(), { channel: 1, on: true })).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
  });

  it('is checked with the settings', () => {
    const parse = (more: object) =>
      parseSettings({
        sources: [
          {
            kind: 'coap',
            rules: [{ match: 'r', decoder: 'json' }],
            commands: commandsOf(5683).map((each) => ({ ...each, ...more })),
          },
        ],
      });
    expect(() => parse({})).not.toThrow();
    expect(() => parse({ answer: { topic: 'x' } })).toThrow('is not for CoAP');
    expect(() => parse({ request: { uri: 'coap://{channel}/x' } })).toThrow(
      '/commands/0/request/uri must match',
    );
    expect(() => parse({ request: { uri: 'coap://h/{nothing}' } })).toThrow("'{nothing}' is no argument");
  });
});
