/**
 * Requests and what they are answered with (RFC 7252, sections 4 and 5.2). A request that is done
 * within a second gets its answer in the ACK. One that takes longer gets an empty ACK, so that the
 * client stops repeating, and the answer as a message of its own, repeated until it is acknowledged.
 * A repetition of a request is answered as the first was, and handled once.
 */
import { messageOf } from '../../../common/runtime/app-error.ts';
import type { Logger } from '../../../common/runtime/logger.ts';
import type { Clock } from '../../clock.ts';
import { quickKey } from '../../intake/quick-hash.ts';
import type { Confirmable } from './confirmable.ts';
import {
  type CoapOption,
  emptyMessage,
  type Header,
  type Message,
  parseMessage,
  readHeader,
  uintValue,
  writeMessage,
} from './packet.ts';
import type { Peer } from './peer.ts';

export interface CoapRequest extends Message {
  peer: Peer;
  /** The same for each repetition of this message, and for no other one: peer and all bytes. */
  transmission: string;
}

export interface CoapResponse {
  code: string;
  options?: CoapOption[];
  payload?: Buffer;
}

export interface ExchangesOptions {
  clock: Clock;
  logger: Logger;
  confirmable: Confirmable;
  handle(request: CoapRequest): Promise<CoapResponse> | CoapResponse;
}

export interface Exchanges {
  /** Never throws. */
  receive(bytes: Buffer, peer: Peer): void;
  /** Resolves when no request is under way any more. */
  idle(): Promise<void>;
}

export const exchangeLimits = {
  /** Requests under way; more are told to come again. */
  underWay: 1000,
  /** Repetitions are known for so long (EXCHANGE_LIFETIME), or until twice so many requests came. */
  lifetimeMs: 247_000,
  remembered: 4000,
  /** The client repeats after 2 s at the earliest. */
  ackAfterMs: 1000,
} as const;

interface Exchange {
  acknowledged: boolean;
  /** For repetitions, once there is one. */
  response?: CoapResponse;
}

const busy: CoapResponse = { code: '5.03', options: [{ name: 'Max-Age', value: uintValue(1) }] };
const warnEveryMs = 60_000;

export function createExchanges(options: ExchangesOptions): Exchanges {
  const { clock, logger, confirmable } = options;
  /** In two generations: taking single ones out of a large map costs more than they do. */
  let exchanges = new Map<string, Exchange>();
  let previous = new Map<string, Exchange>();
  let turnedMs = clock.monotonicMs();
  let underWay = 0;
  let whenIdle: (() => void)[] = [];
  const malformed = { count: 0, toldAtMs: Number.NEGATIVE_INFINITY };

  function noteMalformed(reason: string): void {
    malformed.count += 1;
    if (clock.monotonicMs() - malformed.toldAtMs < warnEveryMs) return;
    malformed.toldAtMs = clock.monotonicMs();
    logger.warn({ datagrams: malformed.count, reason }, 'datagrams were no CoAP messages');
  }

  function receive(bytes: Buffer, peer: Peer): void {
    const header = readHeader(bytes);
    if (!header) noteMalformed('version or length');
    else if (header.type === 'ACK') confirmable.settle(peer, header.messageId, 'acknowledged');
    else if (header.type === 'RST') confirmable.settle(peer, header.messageId, 'reset');
    else receiveRequest(bytes, peer, header);
  }

  function receiveRequest(bytes: Buffer, peer: Peer, { type, messageId }: Header): void {
    let message: Message;
    try {
      message = parseMessage(bytes);
    } catch (error) {
      noteMalformed(messageOf(error));
      if (type === 'CON') peer.send(emptyMessage('RST', messageId));
      return;
    }
    // Pings, and answers to questions that nobody asked.
    if (!message.code.startsWith('0.') || message.code === '0.00') {
      if (type === 'CON') peer.send(emptyMessage('RST', messageId));
      return;
    }
    const key = quickKey(peer.key, bytes);
    const known = exchanges.get(key) ?? previous.get(key);
    if (known) repeat(known, message, peer);
    else if (underWay >= exchangeLimits.underWay) peer.send(reply(message, busy));
    else void run(Object.assign(message, { peer, transmission: key }));
  }

  function repeat({ acknowledged, response }: Exchange, message: Message, peer: Peer): void {
    if (message.type !== 'CON') return;
    if (acknowledged) peer.send(emptyMessage('ACK', message.messageId));
    else if (response) peer.send(reply(message, response));
  }

  async function run(request: CoapRequest): Promise<void> {
    const { peer, type, messageId, transmission } = request;
    const exchange: Exchange = { acknowledged: false };
    remember(transmission, exchange);
    underWay += 1;
    const acknowledge = () => {
      exchange.acknowledged = true;
      peer.send(emptyMessage('ACK', messageId));
    };
    const cancelAck = type === 'CON' ? clock.after(exchangeLimits.ackAfterMs, acknowledge) : undefined;
    const answer = (response: CoapResponse) => {
      cancelAck?.();
      if (exchange.acknowledged) sendSeparately(request, response);
      else peer.send(reply(request, response));
      exchange.response = response;
    };
    try {
      answer(await options.handle(request));
    } catch (error) {
      logger.error({ err: error }, 'a request could not be answered');
      answer({ code: '5.00' });
    } finally {
      underWay -= 1;
      if (underWay === 0) for (const done of whenIdle.splice(0)) done();
    }
  }

  function sendSeparately({ peer, token }: CoapRequest, response: CoapResponse): void {
    const messageId = confirmable.nextMessageId();
    void confirmable.send(peer, messageId, writeMessage({ ...response, type: 'CON', messageId, token }));
  }

  function reply({ type, messageId, token }: Message, response: CoapResponse): Buffer {
    if (type === 'CON') return writeMessage({ ...response, type: 'ACK', messageId, token });
    return writeMessage({ ...response, type: 'NON', messageId: confirmable.nextMessageId(), token });
  }

  function remember(key: string, exchange: Exchange): void {
    const now = clock.monotonicMs();
    if (now - turnedMs >= exchangeLimits.lifetimeMs || exchanges.size >= exchangeLimits.remembered) {
      previous = exchanges;
      exchanges = new Map();
      turnedMs = now;
    }
    exchanges.set(key, exchange);
  }

  return {
    receive(bytes, peer) {
      try {
        receive(bytes, peer);
      } catch (error) {
        logger.error({ err: error }, 'a datagram could not be handled');
      }
    },
    idle() {
      if (underWay === 0) return Promise.resolve();
      return new Promise((resolve) => {
        whenIdle = [...whenIdle, resolve];
      });
    },
  };
}
