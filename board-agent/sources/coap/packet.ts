/**
 * CoAP messages (RFC 7252, section 3) as values. The codec is that of the `coap` library; what it
 * lets pass although the RFC does not is refused here.
 */
import { generate, type NamedOption, type ParsedPacket, parse } from 'coap-packet';

export type MessageType = 'CON' | 'NON' | 'ACK' | 'RST';

export interface CoapOption {
  name: string;
  value: Buffer;
}

export interface Message {
  type: MessageType;
  /** `0.02` is POST, `2.04` Changed, `0.00` an empty message. */
  code: string;
  messageId: number;
  token: Buffer;
  options: CoapOption[];
  payload: Buffer;
}

export type Header = Pick<Message, 'type' | 'messageId'>;

const empty = Buffer.alloc(0);
const types: readonly MessageType[] = ['CON', 'NON', 'ACK', 'RST'];
const longestToken = 8;
const messageBytes = 65_507;

/** The first four bytes, where there are that many and the version is ours. */
export function readHeader(bytes: Buffer): Header | undefined {
  const first = bytes[0];
  if (bytes.length < 4 || first === undefined || first >> 6 !== 1) return undefined;
  return { type: types[(first >> 4) & 3] ?? 'RST', messageId: bytes.readUInt16BE(2) };
}

/** Throws Error for what is no message. Call it only when there is a header. */
export function parseMessage(bytes: Buffer): Message {
  const tokenLength = (bytes[0] ?? 0) & 15;
  if (tokenLength > longestToken) throw new Error(`a token has at most ${longestToken} bytes`);
  if (bytes.length < 4 + tokenLength) throw new Error('it ends within the token');
  const { type, messageId } = readHeader(bytes) ?? fail('it has no header');
  const { code = '', token, options, payload }: ParsedPacket = parse(bytes);
  const { end, marked } = endOfOptions(bytes, 4 + tokenLength);
  if (end > bytes.length) throw new Error('it ends within an option');
  if (marked && payload.length === 0) throw new Error('a payload marker without payload');
  return {
    type,
    code,
    messageId,
    token,
    options: options as CoapOption[],
    payload: marked ? payload : empty,
  };
}

function fail(reason: string): never {
  throw new Error(reason);
}

/** Where the payload marker is, or the end: the codec cuts an option that is longer than the rest. */
function endOfOptions(bytes: Buffer, from: number): { end: number; marked: boolean } {
  let at = from;
  while (at < bytes.length) {
    const first = bytes[at] ?? 0;
    if (first === 0xff) return { end: at, marked: true };
    const [delta, length] = [first >> 4, first & 15];
    at += 1 + extension(delta);
    if (length === 13) at += 1 + 13 + (bytes[at] ?? 0);
    else if (length === 14) at += 2 + 269 + (((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
    else at += length;
  }
  return { end: at, marked: false };
}

const extension = (nibble: number) => (nibble < 13 ? 0 : nibble - 12);

export interface Outgoing {
  type: MessageType;
  code: string;
  messageId: number;
  token?: Buffer;
  options?: CoapOption[];
  payload?: Buffer;
}

export function writeMessage({ type, code, messageId, token = empty, options, payload }: Outgoing): Buffer {
  const flags = { confirmable: type === 'CON', ack: type === 'ACK', reset: type === 'RST' };
  const fields = { options: (options ?? []) as NamedOption[], payload: payload ?? empty };
  return generate({ code, messageId, token, ...flags, ...fields }, messageBytes);
}

export const emptyMessage = (type: 'ACK' | 'RST' | 'CON', messageId: number): Buffer =>
  writeMessage({ type, code: '0.00', messageId });

/** Unsigned, without leading zeros (RFC 7252, section 3.2). */
export function uintValue(value: number): Buffer {
  if (value === 0) return empty;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes.subarray(bytes.findIndex((byte) => byte !== 0));
}

/** undefined = it is not there, or longer than a number of its kind may be. */
export function findUint({ options }: Pick<Message, 'options'>, name: string): number | undefined {
  const option = options.find((each) => each.name === name);
  if (!option || option.value.length > 4) return undefined;
  return option.value.length === 0 ? 0 : option.value.readUIntBE(0, option.value.length);
}

export const hasOption = ({ options }: Pick<Message, 'options'>, name: string): boolean =>
  options.some((each) => each.name === name);
