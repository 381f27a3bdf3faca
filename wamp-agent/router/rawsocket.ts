/**
 * WAMP over RawSocket with JSON on a Unix socket (WAMP specification, "RawSocket Transport").
 * autobahn's own opens its socket half-open, so it never notices that the router died.
 */
import { connect } from 'node:net';
import { parseJsonText } from '../../common/wamp/json-text.ts';

export interface RawSocket {
  /** Throws RangeError when the message is larger than the router takes. */
  send(message: unknown[]): void;
  close(): void;
}

export interface RawSocketEvents {
  onOpen(): void;
  onMessage(message: unknown[]): void;
  /** Called once, whatever ended it. */
  onClose(reason: string): void;
}

const magic = 0x7f;
const jsonSerializer = 1;
/** 2^(9+15) bytes, the most that the protocol can announce. */
const ownLengthExponent = 15;
const frames = { message: 0, ping: 1, pong: 2 } as const;
const maxFrameBytes = 0xff_ff_ff;

export function openRawSocket(path: string, events: RawSocketEvents): RawSocket {
  const socket = connect({ path });
  let peerMaxBytes: number | undefined;
  let chunks: Buffer[] = [];
  let buffered = 0;
  let wanted = 4;
  let frameType: number | undefined;
  let closed = false;

  function close(reason: string): void {
    if (closed) return;
    closed = true;
    socket.destroy();
    events.onClose(reason);
  }

  /** Exactly the next `wanted` bytes, when they have all come. */
  function take(): Buffer | undefined {
    if (buffered < wanted) return undefined;
    const whole = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, buffered);
    const taken = whole.subarray(0, wanted);
    const rest = whole.subarray(wanted);
    chunks = rest.length > 0 ? [rest] : [];
    buffered = rest.length;
    return taken;
  }

  function readHandshake(answer: Buffer): void {
    const second = answer[1] ?? 0;
    if (answer[0] !== magic || (second & 0x0f) !== jsonSerializer) {
      close(`the router refused the handshake (${answer.toString('hex')})`);
      return;
    }
    peerMaxBytes = 2 ** (9 + (second >> 4));
    events.onOpen();
  }

  function readFrame(body: Buffer): void {
    const type = frameType;
    frameType = undefined;
    wanted = 4;
    if (type === frames.ping) write(frames.pong, body);
    else if (type === frames.message) events.onMessage(parseJsonText(body.toString('utf8')) as unknown[]);
  }

  function write(type: number, body: Buffer): void {
    const header = Buffer.allocUnsafe(4);
    header.writeUInt32BE(type * 2 ** 24 + body.length);
    socket.cork();
    socket.write(header);
    socket.write(body);
    socket.uncork();
  }

  function readAll(): void {
    for (let bytes = take(); bytes && !closed; bytes = take()) {
      if (peerMaxBytes === undefined) readHandshake(bytes);
      else if (frameType !== undefined) readFrame(bytes);
      else {
        frameType = (bytes[0] ?? 0) & 0x07;
        wanted = bytes.readUIntBE(1, 3);
      }
    }
  }

  socket.on('connect', () =>
    socket.write(Buffer.from([magic, (ownLengthExponent << 4) | jsonSerializer, 0, 0])),
  );
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    buffered += chunk.length;
    try {
      readAll();
    } catch (error) {
      close(`protocol violation: ${String(error)}`);
    }
  });
  socket.on('error', (error) => close(error.message));
  socket.on('close', () => close('connection closed'));

  return {
    send(message) {
      if (closed) return;
      const body = Buffer.from(JSON.stringify(message), 'utf8');
      if (body.length > Math.min(peerMaxBytes ?? 0, maxFrameBytes))
        throw new RangeError(`a message of ${body.length} bytes is more than the router takes`);
      write(frames.message, body);
    },
    close: () => close('closed by us'),
  };
}
