/**
 * The fresh readings of one wamp-agent, as they come. Best effort: when the stream ends, `onEnd` is
 * called once and the owner decides whether to open another.
 */
import { Agent } from 'node:http';
import { messageOf } from '../runtime/app-error.ts';
import { type LiveReadings, parseLiveLine, type RelayInterest, relayPaths } from './messages.ts';
import { deliver, readLines } from './relay-request.ts';

export interface LiveStream {
  close(): void;
}

export interface LiveStreamOptions {
  relayUrl: string;
  key: string;
  interest: RelayInterest;
  onReadings: (readings: LiveReadings) => void;
  /** The relay serves it: nothing that comes from now on is missed. */
  onOpen?: () => void;
  /** The stream broke, was refused, or fell silent; not called after close(). */
  onEnd: (reason: string) => void;
  silenceMs?: number;
}

/** The relay beats every 5 s: after three missed ones the link counts as dead. */
const defaultSilenceMs = 15_000;

export function openLiveStream(options: LiveStreamOptions): LiveStream {
  const end = new AbortController();
  const agent = new Agent({ keepAlive: false });
  const silence = setTimeout(() => end.abort('silent for too long'), options.silenceMs ?? defaultSilenceMs);
  let closed = false;

  async function run(): Promise<string> {
    const delivery = await deliver({
      relayUrl: options.relayUrl,
      path: relayPaths.live,
      key: options.key,
      body: JSON.stringify(options.interest),
      agent,
      signal: end.signal,
    });
    if (delivery.outcome !== 'answered') return messageOf(delivery.cause);
    const { response } = delivery;
    if (response.statusCode !== 200) {
      response.destroy();
      return `refused with ${response.statusCode}`;
    }
    if (!closed) options.onOpen?.();
    for await (const line of readLines(response)) {
      silence.refresh();
      const readings = parseLiveLine(line);
      if (readings !== undefined && !closed) options.onReadings(readings);
    }
    return 'ended by the relay';
  }

  void run()
    .catch(messageOf)
    .then((reason) => {
      clearTimeout(silence);
      agent.destroy();
      if (!closed) options.onEnd(end.signal.aborted ? String(end.signal.reason) : reason);
    });

  return {
    close() {
      closed = true;
      clearTimeout(silence);
      end.abort('closed');
    },
  };
}
