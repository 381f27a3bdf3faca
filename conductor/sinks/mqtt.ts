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

/** Reason codes of MQTT 5 (§3.4.2.1) that are about the message: not authorized, topic, quota, format. */
const aboutMessage = new Set([0x87, 0x90, 0x97, 0x99]);
/** In a name they would make another level, or a pattern. */
const special = /[+#/\0]/g;

export function createMqttTarget(
  settings: MqttSettings,
  { password }: SecretsOf['mqtt'],
  { config, timeoutMs, sinkId }: TargetContext,
): SinkTarget {
  let client: MqttClient | undefined;

  async function open(signal: AbortSignal): Promise<MqttClient> {
    if (client?.connected) return client;
    await drop();
    const url = new URL(settings.url);
    const [address] = await resolveWebhook(url, config);
    if (!address) throw new AppError('unavailable', 'url has a host without an address');
    const isSecure = url.protocol === 'mqtts:';
    const options: IClientOptions = {
      protocol: isSecure ? 'mqtts' : 'mqtt',
      // The very address that was looked at.
      host: address.address,
      port: Number(url.port || (isSecure ? 8883 : 1883)),
      ...(isSecure && { servername: url.hostname, ...(settings.ca !== undefined && { ca: settings.ca }) }),
      ...(settings.username !== undefined && { username: settings.username }),
      ...(password !== undefined && { password }),
      clientId: settings.clientId ?? `boardwalk-sink-${sinkId.slice(0, 8)}`,
      protocolVersion: settings.protocolVersion,
      clean: true,
      reconnectPeriod: 0,
      connectTimeout: timeoutMs,
      queueQoSZero: false,
    };
    const made = connect(options);
    client = made;
    // Also later: what went wrong shows at the next publication.
    made.on('error', () => undefined);
    await new Promise<void>((resolve, reject) => {
      made.once('connect', () => resolve());
      made.once('error', reject);
      made.once('close', () => reject(new Error('the broker closed the connection')));
      signal.addEventListener('abort', () => reject(new Error('the sender stops')), { once: true });
    });
    return made;
  }

  async function drop(): Promise<void> {
    const old = client;
    client = undefined;
    await old?.endAsync(true);
  }

  async function publish(points: readonly SinkPoint[], signal: AbortSignal): Promise<WriteOutcome> {
    const connection = await open(signal);
    const rejected = new Map<number, string>();
    const gone = Promise.withResolvers<never>();
    const onClose = () => gone.reject(new Error('the connection to the broker was lost'));
    connection.once('close', onClose);
    const timer = setTimeout(
      () => gone.reject(new Error(`no PUBACK within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    try {
      const all = points.map(async (point, index) => {
        try {
          await connection.publishAsync(topicOf(point, settings), JSON.stringify(toJson(point)), {
            qos: 1,
            retain: settings.retain,
          });
        } catch (error) {
          const { code } = error as { code?: unknown };
          if (typeof code !== 'number' || !aboutMessage.has(code)) throw error;
          rejected.set(index, `the broker refused it: ${messageOf(error)}`);
        }
      });
      await Promise.race([Promise.all(all), gone.promise]);
      return { outcome: 'written', rejected };
    } finally {
      clearTimeout(timer);
      connection.off('close', onClose);
      // Nobody waits for it any more.
      gone.promise.catch(() => undefined);
    }
  }

  return {
    async write(points, signal) {
      try {
        return await publish(points, signal);
      } catch (error) {
        const wasOpen = client?.connected === true;
        await drop();
        return { outcome: 'retry', reason: messageOf(error), isOpen: wasOpen };
      }
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
