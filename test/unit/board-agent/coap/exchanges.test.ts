import { describe, expect, it } from 'vitest';
import { createConfirmable } from '../../../../board-agent/sources/coap/confirmable.ts';
import {
  type CoapRequest,
  type CoapResponse,
  createExchanges,
  exchangeLimits,
} from '../../../../board-agent/sources/coap/exchanges.ts';
import { emptyMessage } from '../../../../board-agent/sources/coap/packet.ts';
import { createFakeClock, silent } from '../fakes.ts';
import { createPeer, write } from './support.ts';

function setUp() {
  const clock = createFakeClock();
  const confirmable = createConfirmable({ clock, random: () => 0 });
  const handled: CoapRequest[] = [];
  const answers: ((response: CoapResponse) => void)[] = [];
  const exchanges = createExchanges({
    clock,
    logger: silent,
    confirmable,
    handle(request) {
      handled.push(request);
      return new Promise((resolve) => answers.push(resolve));
    },
  });
  const peer = createPeer();
  const settle = () => clock.advance(0);
  return { clock, exchanges, handled, answers, peer, settle };
}

const changed = { code: '2.04', payload: Buffer.from('ok') };

describe('an exchange', () => {
  it('answers in the acknowledgement, and a repetition as the first one, handled once', async () => {
    const { exchanges, handled, answers, peer, settle } = setUp();
    exchanges.receive(write(), peer);
    exchanges.receive(write(), peer);
    expect(peer.bytes).toEqual([]);
    answers[0]?.(changed);
    await settle();
    exchanges.receive(write(), peer);
    expect(handled).toHaveLength(1);
    expect(peer.messages()).toMatchObject([
      { type: 'ACK', code: '2.04', messageId: 1, token: Buffer.from('t') },
      { type: 'ACK', code: '2.04', messageId: 1, token: Buffer.from('t') },
    ]);
  });

  it('takes another message with the same id, and the same of another peer, as new', () => {
    const { exchanges, handled, peer } = setUp();
    exchanges.receive(write(), peer);
    exchanges.receive(write({ token: Buffer.from('u') }), peer);
    exchanges.receive(write({ payload: Buffer.from('other') }), peer);
    exchanges.receive(write(), createPeer('elsewhere'));
    expect(new Set(handled.map((each) => each.transmission)).size).toBe(4);
  });

  it('that takes long is acknowledged empty, and answered on its own until the client has it', async () => {
    const { clock, exchanges, handled, answers, peer } = setUp();
    exchanges.receive(write(), peer);
    await clock.advance(exchangeLimits.ackAfterMs);
    exchanges.receive(write(), peer);
    expect(peer.messages()).toMatchObject([
      { type: 'ACK', code: '0.00', messageId: 1 },
      { type: 'ACK', code: '0.00', messageId: 1 },
    ]);
    answers[0]?.(changed);
    await clock.advance(2000 + 4000);
    const [, , ...own] = peer.messages();
    expect(own).toHaveLength(3);
    for (const each of own)
      expect(each).toMatchObject({ type: 'CON', code: '2.04', token: Buffer.from('t') });
    exchanges.receive(emptyMessage('ACK', own[0]?.messageId ?? 0), peer);
    await clock.advance(100_000);
    expect(peer.bytes).toHaveLength(5);
    expect(handled).toHaveLength(1);
    expect(clock.pending()).toEqual([]);
  });

  it('that nobody takes the answer of is given up', async () => {
    const { clock, exchanges, answers, peer } = setUp();
    exchanges.receive(write(), peer);
    await clock.advance(1000);
    answers[0]?.(changed);
    await clock.advance(100_000);
    expect(peer.bytes).toHaveLength(1 + 5);
    expect(clock.pending()).toEqual([]);
  });

  it('of a NON request has a NON answer and no acknowledgement', async () => {
    const { clock, exchanges, answers, peer } = setUp();
    exchanges.receive(write({ type: 'NON' }), peer);
    await clock.advance(5000);
    expect(peer.bytes).toEqual([]);
    answers[0]?.(changed);
    await clock.advance(0);
    expect(peer.messages()).toMatchObject([{ type: 'NON', code: '2.04', token: Buffer.from('t') }]);
  });

  it('beyond the limit is told to come again, and is not remembered', async () => {
    const { exchanges, handled, answers, peer, settle } = setUp();
    for (let index = 0; index <= exchangeLimits.underWay; index += 1)
      exchanges.receive(write({ messageId: index }), peer);
    expect(peer.messages()).toMatchObject([{ code: '5.03', options: [{ name: 'Max-Age' }] }]);
    answers[0]?.(changed);
    await settle();
    exchanges.receive(write({ messageId: exchangeLimits.underWay }), peer);
    expect(handled).toHaveLength(exchangeLimits.underWay + 1);
  });

  it('says that it failed when its handler throws', async () => {
    const { peer, settle, clock } = setUp();
    const exchanges = createExchanges({
      clock,
      logger: silent,
      confirmable: createConfirmable({ clock }),
      handle: () => {
        throw new Error('a fault');
      },
    });
    exchanges.receive(write(), peer);
    await settle();
    expect(peer.messages()).toMatchObject([{ type: 'ACK', code: '5.00' }]);
  });
});

describe('what is no request', () => {
  it('is reset when it was confirmable, and passed over when not', () => {
    const { exchanges, peer, handled } = setUp();
    exchanges.receive(emptyMessage('CON', 7), peer);
    exchanges.receive(Buffer.from([0x4f, 2, 0, 8, 1]), peer);
    exchanges.receive(write({ code: '2.05', messageId: 9 }), peer);
    for (const bytes of [[0x5f, 2, 0, 8, 1], [0x40, 2], [0x80, 2, 0, 1], []])
      exchanges.receive(Buffer.from(bytes), peer);
    expect(peer.messages()).toMatchObject([7, 8, 9].map((messageId) => ({ type: 'RST', messageId })));
    expect(handled).toEqual([]);
  });
});
