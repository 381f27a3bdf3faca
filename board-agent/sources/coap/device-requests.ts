/** Commands to devices, carried by CoAP: a request to the device, whose response is the answer. */
import { isIPv6 } from 'node:net';
import { Agent, type OutgoingMessage, request as sendRequest } from 'coap';
import { AppError, messageOf } from '../../../common/runtime/app-error.ts';
import type { CommandRequest } from '../commands/commands.ts';
import type { CoapCommandSettings } from './settings.ts';

interface DeviceUri {
  hostname: string;
  port: number;
  pathname: string;
  query: string;
}

const answerBytes = 65_536;

/**
 * Rejects with AppError `procedure-failed` with the device's words when it refuses, `unavailable` when
 * it cannot be reached or does not know the request, and with the signal's reason.
 */
export async function askDevice(asked: CommandRequest<CoapCommandSettings>): Promise<Uint8Array | undefined> {
  const { command, fill, payload, signal } = asked;
  signal.throwIfAborted();
  const { uri, method, contentType } = command.request;
  const to = parseDeviceUri(fill(uri));
  // One for each: the library's shared agents are of the whole process.
  const agent = new Agent({ type: isIPv6(to.hostname) ? 'udp6' : 'udp4' });
  const ended = Promise.withResolvers<Buffer>();
  const fail = (error: unknown) =>
    ended.reject(new AppError('unavailable', `${to.hostname}: ${messageOf(error)}`, { cause: error }));
  agent.on('error', fail);
  const onAbort = () => ended.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const outgoing: OutgoingMessage = sendRequest({
      ...to,
      agent,
      method,
      confirmable: true,
      ...(payload.length > 0 && { options: { 'Content-Format': contentType } }),
    });
    outgoing.on('error', fail);
    outgoing.on('reset', () => fail(new Error('it does not know such requests')));
    outgoing.on('response', (response) => {
      const body = Buffer.from(response.payload.subarray(0, answerBytes));
      if (response.code.startsWith('2.')) ended.resolve(body);
      else ended.reject(refusal(response.code, body));
    });
    outgoing.end(payload);
    return await ended.promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    agent.close();
  }
}

function refusal(code: string, body: Buffer): AppError {
  const words = body.toString('utf8').slice(0, 500);
  return new AppError('procedure-failed', words === '' ? `the device answered ${code}` : words, {
    details: { code },
  });
}

/** Throws AppError `invalid-arguments`. */
function parseDeviceUri(uri: string): DeviceUri {
  const parts = /^coap:\/\/(?:\[([^\]/?#]+)\]|([^:/?#[\]@]+))(?::(\d{1,5}))?(\/[^?#]*)?(?:\?([^#]*))?$/.exec(
    uri,
  );
  const [, six, four = '', port = '5683', pathname = '/', query = ''] = parts ?? [];
  if (!parts) throw new AppError('invalid-arguments', `'${uri.slice(0, 200)}' is no address of a device`);
  return { hostname: six ?? four, port: Number(port), pathname, query };
}
