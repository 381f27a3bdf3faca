/**
 * One connection to the broker. The library acknowledges one message after the other; here many are
 * under way at a time, so its PUBACKs are held back (the message's callback is called with an error,
 * which is its way to say "not acknowledged") and written by acknowledgements.ts.
 */
import { Socket } from 'node:net';
import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt';
import { messageOf } from '../../../common/runtime/app-error.ts';
import type { IntakeOutcome } from '../../intake/types.ts';
import { createAcknowledgements } from './acknowledgements.ts';
import type { Credentials } from './files.ts';
import type { MqttSourceSettings } from './settings.ts';

export interface ConnectionOptions {
  url: string;
  settings: MqttSourceSettings;
  clientId: string;
  credentials: Credentials;
  onConnect(sessionPresent: boolean): void;
  /** Undefined: nobody has to wait for anything. */
  onMessage(packet: IPublishPacket): Promise<IntakeOutcome> | undefined;
}

export interface Connection {
  client: MqttClient;
  /** Resolves with the reason when it is over. Never rejects. */
  closed: Promise<{ reason: string; retryAfterSeconds?: number }>;
  /** Waits a moment for what is under way, and says goodbye; the session stays. */
  end(): Promise<void>;
}

export const connectionLimits = {
  connectMs: 10_000,
  goodbyeMs: 2000,
  /** Larger messages are dropped by a broker of MQTT 5; the intake refuses, and counts, from 256 KiB on. */
  packetBytes: 1_048_576,
} as const;

const acknowledgedLater = new Error('acknowledged later');

export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  // Only boards with such a source carry the library.
  const { connect } = await import('mqtt');
  const { settings } = options;
  const client = connect(options.url, clientOptions(options));
  const closed = Promise.withResolvers<{ reason: string; retryAfterSeconds?: number }>();
  let ending: { reason: string; retryAfterSeconds?: number } | undefined;
  let inFlight = 0;
  let held: (() => void)[] = [];
  const acknowledgements = createAcknowledgements((packets) => client.stream.write(packets));

  function fail(reason: string, retryAfterSeconds?: number): void {
    ending ??= { reason, ...(retryAfterSeconds !== undefined && { retryAfterSeconds }) };
    acknowledgements.close();
    client.end(true);
  }

  function release(): void {
    inFlight -= 1;
    if (inFlight < settings.maxInFlight) for (const each of held.splice(0)) each();
  }

  client.handleMessage = (packet, callback) => {
    // Left to the next connection.
    if (ending) return callback(acknowledgedLater);
    const outcome = options.onMessage(packet);
    const place = packet.qos === 1 ? acknowledgements.add(packet.messageId ?? 0) : undefined;
    if (!outcome) {
      place?.done();
      return callback(place && acknowledgedLater);
    }
    inFlight += 1;
    void outcome.then((each) => {
      if (each.status === 'unavailable') fail(each.detail, each.retryAfterSeconds);
      else place?.done();
      release();
    });
    // Nothing more is read from the broker while the disk has enough to do.
    if (inFlight < settings.maxInFlight) callback(place && acknowledgedLater);
    else held.push(() => callback(place && acknowledgedLater));
  };
  // Acknowledgements are few bytes, and the broker waits for them.
  if (client.stream instanceof Socket) client.stream.setNoDelay(true);
  client.on('connect', ({ sessionPresent }) => options.onConnect(sessionPresent));
  client.on('error', (error) => fail(explain(error)));
  client.on('disconnect', ({ reasonCode }) => {
    ending ??= { reason: reasonsOfBroker[reasonCode ?? 0] ?? `the broker has disconnected (${reasonCode})` };
  });
  client.on('close', () => {
    acknowledgements.close();
    held = [];
    closed.resolve(ending ?? { reason: 'the connection was lost' });
    // Timers of the library.
    client.end(true);
  });

  return {
    client,
    closed: closed.promise,
    async end() {
      if (!client.connected) return fail('stopped');
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, connectionLimits.goodbyeMs);
      ending ??= { reason: 'stopped' };
      await Promise.race([acknowledgements.drained(), late.promise]);
      acknowledgements.close();
      client.end(false);
      await Promise.race([closed.promise, late.promise]);
      clearTimeout(timer);
      fail('stopped');
    },
  };
}

function clientOptions({ settings, clientId, credentials }: ConnectionOptions): IClientOptions {
  const { protocol, sessionExpirySeconds, maxInFlight, keepAliveSeconds } = settings;
  return {
    ...credentials,
    clientId,
    clean: false,
    keepalive: keepAliveSeconds,
    connectTimeout: connectionLimits.connectMs,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // Asking for its log level costs more than some messages.
    log: () => {},
    ...(protocol === '5'
      ? {
          protocolVersion: 5,
          properties: {
            sessionExpiryInterval: sessionExpirySeconds,
            receiveMaximum: maxInFlight,
            maximumPacketSize: connectionLimits.packetBytes,
          },
        }
      : { protocolVersion: 4 }),
  };
}

const reasonsOfBroker: Record<number, string> = {
  139: 'the broker is shutting down',
  142: 'another client has connected with the same client id',
  152: 'the broker’s administrator has ended the connection',
};

/** The library's words, with what helps. */
function explain(error: Error & { code?: unknown }): string {
  const reason = messageOf(error) || String(error.code);
  if (error.code === 1 || error.code === 0x84) return `${reason}: set protocol to another version`;
  return reason;
}
