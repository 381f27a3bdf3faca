import { describe, expect, it } from 'vitest';
import {
  findUint,
  parseMessage,
  readHeader,
  uintValue,
  writeMessage,
} from '../../../../board-agent/sources/coap/packet.ts';
import { option, write } from './support.ts';

describe('CoAP messages', () => {
  it('are read as they were written', () => {
    const message = {
      type: 'NON' as const,
      code: '0.03',
      messageId: 0xbeef,
      token: Buffer.from('token678'),
      options: [option('Uri-Path', 'r'), option('Uri-Query', 'q'.repeat(300)), option('292', 'tag')],
      payload: Buffer.from([0xff, 0, 1]),
    };
    expect(parseMessage(writeMessage(message))).toEqual(message);
  });

  it.each([
    ['a token of 9 bytes', Buffer.from([0x49, 2, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9])],
    ['a token that is cut off', Buffer.from([0x44, 2, 0, 1, 1])],
    ['an option that is cut off', Buffer.from([0x40, 2, 0, 1, 0xb4, 0x61])],
    ['an option whose length is cut off', Buffer.from([0x40, 2, 0, 1, 0xbd])],
    ['an option delta of 15', Buffer.from([0x40, 2, 0, 1, 0xf1, 0x61])],
    ['an option length of 15', Buffer.from([0x40, 2, 0, 1, 0xbf, 0x61])],
    ['a payload marker without payload', Buffer.from([0x40, 2, 0, 1, 0xff])],
    ['an empty message that is not empty', Buffer.from([0x40, 0, 0, 1, 0])],
  ])('are refused with %s', (_, bytes) => {
    expect(() => parseMessage(bytes)).toThrow();
  });

  it('have no header when they are short or of another version', () => {
    expect(readHeader(Buffer.from([0x40, 2, 0]))).toBeUndefined();
    expect(readHeader(Buffer.from([0x80, 2, 0, 1]))).toBeUndefined();
    expect(readHeader(write())).toEqual({ type: 'CON', messageId: 1 });
  });

  it('carry numbers without leading zeros', () => {
    expect([0, 1, 255, 256, 65_536].map((each) => uintValue(each).length)).toEqual([0, 1, 1, 2, 3]);
    const message = { options: [option('Max-Age', uintValue(70_000)), option('Size1', Buffer.alloc(5))] };
    expect([findUint(message, 'Max-Age'), findUint(message, 'Size1'), findUint(message, 'Size2')]).toEqual([
      70_000,
      undefined,
      undefined,
    ]);
  });
});
