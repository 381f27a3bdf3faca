/**
 * Points published at QoS 1: one counts as delivered with the broker's PUBACK. Over MQTT 5 a broker can
 * refuse a single message, which then is a dead letter; over 3.1.1 it cannot say so.
 */
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import type { MqttSettings, SecretsOf } from '../../common/sinks/settings.ts';
import { fillTemplate } from '../../common/sinks/template.ts';
import { resolveWebhook } from '../../common/webhooks/addresses.ts';
import {
  type SinkPoint,
  type SinkTarget,
  type TargetContext,
  templateValues,
  type WriteOutcome,
} from './sink-kind.ts';
import { toJson } from './webhook.ts';

/** Reason codes of MQTT 5 (§3.4.2.1) that are about the message: not authorized, topic, format. A quota is not. */
const aboutMessage = new Set([0x87, 0x90, 0x99]);
/** In a name they would make another level, or a pattern. */
const special = /[+#/\0]/g;
const stopped = 'the sender stops';
/** Messages under way to a broker that sets no limit. */
const mostAtOnce = 1000;

interface Connection {
  client: MqttClient;
  /** Messages that the broker wants to have unanswered (§3.3.4): it may cut who sends more. */
  atOnce: number;
}

export function createMqttTarget(
  settings: MqttSettings,
  { password }: SecretsOf['mqtt'],
  { config, timeoutMs, sinkId }: TargetContext,
): SinkTarget {
  let current: Connection | undefined;

  async function open(signal: AbortSignal): Promise<Connection> {
    if (current?.client.connected) return current;
    await drop();
    const url = new URL(settings.url);
    const [address] = await resolveWebhook(url, config);
    if (!address) throw new AppError('unavailable', 'url has a host without an address');
    const isSecure = url.protocol === 'mqtts:';
    const name = url.hostname.replace(/^\[|\]$/g, '');
    const options: IClientOptions = {
      protocol: isSecure ? 'mqtts' : 'mqtt',
      // The very address that was looked at.
      host: address.address,
      port: Number(url.port || (isSecure ? 8883 : 1883)),
      // What the certificate must name; of a bare address that is the address.
      ...(isSecure && name !== address.address && { servername: name }),
      ...(isSecure && settings.ca !== undefined && { ca: settings.ca }),
      ...(settings.username !== undefined && { username: settings.username }),
      ...(password !== undefined && { password }),
      clientId: settings.clientId ?? `boardwalk-sink-${sinkId.slice(0, 8)}`,
      protocolVersion: settings.protocolVersion,
      clean: true,
      reconnectPeriod: 0,
      connectTimeout: timeoutMs,
      queueQoSZero: false,
    };
    if (signal.aborted) throw new Error(stopped);
    const client = connect(options);
    current = { client, atOnce: mostAtOnce };
    // Also later: what went wrong shows at the next publication.
    client.on('error', () => undefined);
    const opened = Promise.withResolvers<void>();
    const onAbort = () => opened.reject(new Error(stopped));
    client.once('connect', () => opened.resolve());
    client.once('error', opened.reject);
    client.once('close', () => opened.reject(new Error('the broker closed the connection')));
    signal.addEventListener('abort', onAbort);
    try {
      await opened.promise;
      current.atOnce = Math.min(mostAtOnce, client.serverProperties?.receiveMaximum ?? mostAtOnce);
      return current;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async function drop(): Promise<void> {
    const old = current;
    current = undefined;
    await old?.client.endAsync(true);
  }

  async function publish(
    { client, atOnce }: Connection,
    points: readonly SinkPoint[],
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const rejected = new Map<number, string>();
    const answered = new Set<number>();
    const gone = Promise.withResolvers<never>();
    const onClose = () => gone.reject(new Error('the connection to the broker was lost'));
    const onAbort = () => gone.reject(new Error(stopped));
    const timer = setTimeout(
      () => gone.reject(new Error(`no PUBACK within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    let next = 0;
    let isOver = false;

    async function publishOne(point: SinkPoint, index: number): Promise<void> {
      try {
        const text = JSON.stringify(toJson(point));
        await client.publishAsync(topicOf(point, settings), text, { qos: 1, retain: settings.retain });
      } catch (error) {
        const { code } = error as { code?: unknown };
        if (typeof code !== 'number' || !aboutMessage.has(code)) throw error;
        rejected.set(index, `the broker refused it: ${messageOf(error)}`);
      }
      answered.add(index);
      timer.refresh();
    }

    /** Several of these take turns: that many are under way, and they begin in order. */
    async function publishOn(): Promise<void> {
      for (let index = next; index < points.length && !isOver; index = next) {
        next += 1;
        await publishOne(points[index] as SinkPoint, index);
      }
    }

    client.once('close', onClose);
    signal.addEventListener('abort', onAbort);
    try {
      const all = Array.from({ length: Math.min(atOnce, points.length) }, publishOn);
      await Promise.race([Promise.all(all), gone.promise]);
      return { outcome: 'written', rejected };
    } catch (error) {
      const count = points.findIndex((_, index) => !answered.has(index));
      const settled = { count, rejected: new Map([...rejected].filter(([index]) => index < count)) };
      return { outcome: 'retry', reason: messageOf(error), isOpen: true, ...(count > 0 && { settled }) };
    } finally {
      isOver = true;
      clearTimeout(timer);
      client.off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      // Nobody waits for it any more.
      gone.promise.catch(() => undefined);
    }
  }

  return {
    async write(points, signal) {
      let outcome: WriteOutcome;
      try {
        outcome = await publish(await open(signal), points, signal);
      } catch (error) {
        outcome = { outcome: 'retry', reason: messageOf(error), isOpen: false };
      }
      if (outcome.outcome === 'retry') await drop();
      return outcome;
    },
    close: drop,
  };
}

export function topicOf(point: SinkPoint, { topic }: Pick<MqttSettings, 'topic'>): string {
  const { board, boardId, module, measurement } = templateValues(point);
  return fillTemplate(topic, {
    board: board.replaceAll(special, '_'),
    boardId,
    module,
    // A measurement may have levels of its own.
    measurement: measurement.replaceAll(/[+#\0]/g, '_'),
  });
}
