import { describe, expect, it } from 'vitest';
import { blockLimits, createUploads, inBlocks } from '../../../../board-agent/sources/coap/blocks.ts';
import { uintValue } from '../../../../board-agent/sources/coap/packet.ts';
import { createFakeClock } from '../fakes.ts';
import { createPeer, option, requestOf } from './support.ts';

const block = (num: number, more: boolean, szx = 0) => uintValue(num * 16 + (more ? 8 : 0) + szx);

function setUp(maxBytes = 100) {
  const clock = createFakeClock();
  const uploads = createUploads({ clock, maxBytes });
  const send = (num: number, more: boolean, text: string, peer = createPeer(), size1?: number) => {
    const options = [option('Block1', block(num, more))];
    if (size1 !== undefined) options.push(option('Size1', uintValue(size1)));
    const taken = uploads.take(requestOf({ options, payload: Buffer.from(text) }, peer), 'r?');
    return 'payload' in taken ? taken.payload.toString() : taken.response.code;
  };
  return { clock, uploads, send };
}

const sixteen = '0123456789abcdef';

describe('uploads in blocks', () => {
  it('are put together when the last one is here', () => {
    const { send } = setUp();
    expect(send(0, true, sixteen)).toBe('2.31');
    expect(send(1, true, sixteen)).toBe('2.31');
    expect(send(2, false, 'end')).toBe(`${sixteen}${sixteen}end`);
    expect(send(1, false, 'again')).toBe('4.08');
  });

  it('of two senders are not mixed', () => {
    const { send } = setUp();
    const [one, other] = [createPeer('one'), createPeer('other')];
    expect(send(0, true, sixteen, one)).toBe('2.31');
    expect(send(0, true, sixteen.toUpperCase(), other)).toBe('2.31');
    expect(send(1, false, '!', one)).toBe(`${sixteen}!`);
    expect(send(1, false, '?', other)).toBe(`${sixteen.toUpperCase()}?`);
  });

  it('begin again after a gap', () => {
    const { send } = setUp();
    expect(send(0, true, sixteen)).toBe('2.31');
    expect(send(2, false, 'x')).toBe('4.08');
    expect(send(1, false, 'x')).toBe('4.08');
  });

  it('are refused as soon as they are too large', () => {
    const { send } = setUp(20);
    expect(send(0, true, sixteen, createPeer(), 21)).toBe('4.13');
    expect(send(0, true, sixteen)).toBe('2.31');
    expect(send(1, false, sixteen)).toBe('4.13');
    expect(send(1, false, 'x')).toBe('4.08');
  });

  it('are bounded in number, and forgotten when they rest', async () => {
    const { clock, send } = setUp();
    for (let index = 0; index < blockLimits.uploads; index += 1)
      expect(send(0, true, sixteen, createPeer(`peer ${index}`))).toBe('2.31');
    expect(send(0, true, sixteen, createPeer('one more'))).toBe('5.03');
    await clock.advance(blockLimits.idleMs);
    expect(send(0, true, sixteen, createPeer('one more'))).toBe('2.31');
  });
});

describe('answers in blocks', () => {
  const response = { code: '2.05', payload: Buffer.from('x'.repeat(2500)) };
  const part = (options = [] as ReturnType<typeof option>[]) => inBlocks(requestOf({ options }), response);

  it('come whole when they are small', () => {
    const small = { code: '2.05', payload: Buffer.from('small') };
    expect(inBlocks(requestOf({}), small)).toEqual(small);
  });

  it('are given block by block', () => {
    expect(part()).toMatchObject({
      payload: Buffer.from('x'.repeat(1024)),
      options: [{ name: 'Block2', value: block(0, true, 6) }],
    });
    expect(part([option('Block2', block(2, false, 6))])).toMatchObject({
      payload: Buffer.from('x'.repeat(452)),
      options: [{ name: 'Block2', value: block(2, false, 6) }],
    });
    expect(part([option('Block2', block(3, false, 6))])).toEqual({ code: '4.02' });
    expect(part([option('Block2', Buffer.from([7]))])).toEqual({ code: '4.00' });
  });
});
