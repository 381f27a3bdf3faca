/**
 * The resource `time`: for devices without a clock. Text in RFC 3339, or JSON; observable (RFC
 * 7641). Each notification must be acknowledged: an observer that went away, or never asked, is
 * dropped.
 */
import type { Clock } from '../../clock.ts';
import type { Confirmable } from './confirmable.ts';
import { contentFormats } from './content-formats.ts';
import type { CoapRequest, CoapResponse } from './exchanges.ts';
import { type CoapOption, findUint, uintValue, writeMessage } from './packet.ts';
import type { Peer } from './peer.ts';

export const observerLimits = { all: 50, perPeer: 4 } as const;

interface Observer {
  peer: Peer;
  token: Buffer;
  format: number;
  waits: boolean;
}

export interface TimeResource {
  get(request: CoapRequest): CoapResponse;
  observers(): number;
  stop(): void;
}

export interface TimeResourceOptions {
  clock: Clock;
  confirmable: Confirmable;
  /** Epoch milliseconds. */
  now: () => number;
  intervalMs: number;
}

export function createTimeResource(options: TimeResourceOptions): TimeResource {
  const { clock, confirmable, now, intervalMs } = options;
  const observers = new Map<string, Observer>();
  /** Grows over all of them: each sees numbers that only rise. */
  let sequence = 1;
  let cancelTick: (() => void) | undefined;

  function represent(format: number, observing: boolean): CoapResponse {
    const time = new Date(now()).toISOString();
    const payload = format === contentFormats.json ? JSON.stringify({ time, epochMs: now() }) : time;
    const named: CoapOption[] = [
      { name: 'Content-Format', value: uintValue(format) },
      // Old by the next second.
      { name: 'Max-Age', value: uintValue(observing ? Math.ceil(intervalMs / 1000) : 0) },
    ];
    if (observing) named.push({ name: 'Observe', value: uintValue(sequence) });
    return { code: '2.05', options: named, payload: Buffer.from(payload) };
  }

  function tick(): void {
    cancelTick = observers.size > 0 ? clock.after(intervalMs, tick) : undefined;
    sequence = (sequence + 1) & 0xffffff;
    for (const [key, observer] of observers) if (!observer.waits) void notify(key, observer);
  }

  async function notify(key: string, observer: Observer): Promise<void> {
    const { peer, token, format } = observer;
    observer.waits = true;
    const messageId = confirmable.nextMessageId();
    const bytes = writeMessage({ ...represent(format, true), type: 'CON', messageId, token });
    const delivery = await confirmable.send(peer, messageId, bytes);
    observer.waits = false;
    if (delivery !== 'acknowledged' && observers.get(key) === observer) observers.delete(key);
  }

  function observe({ peer, token }: CoapRequest, format: number): boolean {
    const key = `${peer.key} ${token.toString('hex')}`;
    const ofPeer = [...observers.values()].filter((each) => each.peer.key === peer.key);
    const hasRoom = observers.size < observerLimits.all && ofPeer.length < observerLimits.perPeer;
    if (!observers.has(key) && !hasRoom) return false;
    observers.set(key, { peer, token: Buffer.from(token), format, waits: false });
    cancelTick ??= clock.after(intervalMs, tick);
    return true;
  }

  return {
    get(request) {
      const format = findUint(request, 'Accept') ?? contentFormats.text;
      if (format !== contentFormats.text && format !== contentFormats.json) return { code: '4.06' };
      const wanted = findUint(request, 'Observe');
      if (wanted === 1) observers.delete(`${request.peer.key} ${request.token.toString('hex')}`);
      return represent(format, wanted === 0 && observe(request, format));
    },
    observers: () => observers.size,
    stop() {
      cancelTick?.();
      observers.clear();
    },
  };
}
