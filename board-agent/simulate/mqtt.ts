/** Devices that publish with QoS 1, each with a connection of its own. Acknowledged is the broker's PUBACK. */
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Delivery, Transport } from './behind-gateway.ts';
import { forEachLimited } from './load.ts';

export interface MqttTransportOptions {
  url: string;
  /** With `{device}`, e.g. `sim/{device}`. */
  topic: string;
  username?: string;
  password?: string;
}

const atATime = 20;

export async function connectMqtt(
  devices: readonly string[],
  { url, topic, username, password }: MqttTransportOptions,
): Promise<Transport> {
  const clients: MqttClient[] = [];
  const run = Date.now().toString(36);
  const options: IClientOptions = {
    protocolVersion: 5,
    clean: true,
    reconnectPeriod: 1000,
    connectTimeout: 10_000,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
  };
  const close = async () => {
    await forEachLimited(clients, atATime, async (client) => void (await client.endAsync(true)));
  };
  try {
    await forEachLimited(devices, atATime, async (device, index) => {
      // The first connection must succeed; afterwards the client comes back by itself.
      const client = await mqtt.connectAsync(url, { ...options, clientId: `${device}-${run}` }, false);
      client.on('error', () => undefined);
      clients[index] = client;
    });
  } catch (error) {
    await close();
    throw new Error(`${url}: ${messageOf(error)}`, { cause: error });
  }
  return {
    async deliver(index, { device, payload }): Promise<Delivery> {
      const client = clients[index];
      try {
        // Repeated by the client over reconnections until the broker has it.
        await client?.publishAsync(topic.replaceAll('{device}', device), payload, {
          qos: 1,
          properties: { contentType: 'application/json' },
        });
        return { status: 'acknowledged' };
      } catch (error) {
        const status = client?.connected ? 'refused' : 'unavailable';
        return { status, detail: `the broker: ${messageOf(error)}` };
      }
    },
    close,
  };
}
