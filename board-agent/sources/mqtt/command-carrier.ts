/** Commands to devices over MQTT: published once, never retained, and dropped by the broker when they are late (MQTT 5). */
import type { IClientPublishOptions, IPublishPacket, MqttClient } from 'mqtt';
import { AppError, messageOf } from '../../../common/runtime/app-error.ts';
import type { CommandCarrier, Heard } from '../commands/commands.ts';
import type { MqttCommandSettings, MqttSourceSettings } from './settings.ts';
import { toFilter } from './topics.ts';

export interface MqttCarrier extends CommandCarrier<MqttCommandSettings> {
  /** Topic filters of what devices say to commands. */
  filters: readonly string[];
  hear(packet: IPublishPacket): void;
}

type Hear = (heard: Heard) => void;

export function createCarrier(
  settings: MqttSourceSettings,
  clientId: string,
  connected: () => MqttClient | { fault: string },
): MqttCarrier {
  const responseTopic = `boardwalk/answers/${clientId}`;
  const listeners = new Map<string, Set<Hear>>();

  function publishOptions(command: MqttCommandSettings, correlation: string, timeoutMs: number) {
    const options: IClientPublishOptions = { qos: command.request.qos, retain: false };
    if (settings.protocol !== '5') return options;
    const asked = command.answer && command.answer.topic === undefined;
    options.properties = {
      messageExpiryInterval: Math.max(1, Math.ceil(timeoutMs / 1000)),
      ...(asked && { responseTopic, correlationData: Buffer.from(correlation) }),
    };
    return options;
  }

  return {
    filters: settings.commands.flatMap((each) => filtersOf(each, responseTopic)),
    hear({ topic, payload, properties, retain }) {
      // What was kept from earlier says nothing about a command that was given now.
      if (retain) return;
      const correlation = properties?.correlationData;
      const heard: Heard = {
        payload: Buffer.from(payload),
        ...(correlation && { correlation: correlation.toString() }),
      };
      for (const each of listeners.get(topic) ?? []) each(heard);
    },
    send({ command, fill, payload, correlation, timeoutMs }) {
      const topic = fill(command.request.topic);
      const client = connected();
      if ('fault' in client)
        return Promise.reject(new AppError('unavailable', `the broker is away: ${client.fault}`));
      return new Promise((resolve, reject) => {
        client.publish(topic, payload, publishOptions(command, correlation, timeoutMs), (error, packet) => {
          if (error)
            reject(
              new AppError('procedure-failed', `it could not be published: ${messageOf(error)}`, {
                cause: error,
              }),
            );
          else if (packet && 'reasonCode' in packet && packet.reasonCode === noMatchingSubscribers)
            reject(new AppError('procedure-failed', `no device listens to '${topic}'`));
          else resolve(undefined);
        });
      });
    },
    listen(topic = responseTopic, hear) {
      const there = listeners.get(topic) ?? new Set();
      listeners.set(topic, there.add(hear));
      return () => {
        there.delete(hear);
        if (there.size === 0 && listeners.get(topic) === there) listeners.delete(topic);
      };
    },
  };
}

const noMatchingSubscribers = 16;

function filtersOf({ answer, status, error }: MqttCommandSettings, responseTopic: string): string[] {
  const topics = [answer && (answer.topic ?? responseTopic), status?.topic, error?.topic];
  return topics.flatMap((each) => (each === undefined ? [] : [toFilter(each)]));
}
