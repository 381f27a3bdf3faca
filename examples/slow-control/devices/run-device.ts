/**
 * A device program's life on the broker: takes `/<device>/cmd/<command>/<channel>`, publishes
 * `/<device>/status` every second and after each accepted command, and says on `/<device>/error` what
 * it refuses. A command that names a response topic (MQTT 5) is answered there too.
 *
 * Variables: MQTT_URL, MQTT_USERNAME, MQTT_PASSWORD_FILE.
 */
import { readFileSync } from 'node:fs';
import { connect, type IPublishPacket } from 'mqtt';
import { Refusal } from './power-supply.ts';

export interface Device {
  name: string;
  /** Throws Refusal. */
  command(command: string, channel: string, payload: string): void;
  /** Lets time pass. */
  step(seconds: number): void;
  /** Published as JSON. */
  status(): unknown;
}

const statusEveryMs = 1_000;

export function runDevice({ name, step, command, status }: Device): void {
  const { MQTT_URL = 'mqtt://127.0.0.1:1883', MQTT_USERNAME, MQTT_PASSWORD_FILE } = process.env;
  const client = connect(MQTT_URL, {
    protocolVersion: 5,
    clientId: `device-${name}`,
    reconnectPeriod: 1_000,
    ...(MQTT_USERNAME ? { username: MQTT_USERNAME } : {}),
    ...(MQTT_PASSWORD_FILE ? { password: readFileSync(MQTT_PASSWORD_FILE, 'utf8').trim() } : {}),
  });
  const publish = (topic: string, value: unknown, correlationData?: Buffer) =>
    client.publish(topic, JSON.stringify(value), {
      qos: 1,
      ...(correlationData ? { properties: { correlationData } } : {}),
    });

  let steppedAt = performance.now();
  function passTime(): void {
    const now = performance.now();
    step((now - steppedAt) / 1_000);
    steppedAt = now;
  }
  function publishStatus(): void {
    // What was not sent while the broker was away is of no use later.
    if (client.connected) publish(`/${name}/status`, status());
  }

  function take(topic: string, payload: Buffer, packet: IPublishPacket): void {
    // Kept at the broker from earlier: nobody wants that now.
    if (packet.retain) return;
    const [commandName = '', channel = '', ...more] = topic.split('/').slice(3);
    const text = payload.toString('utf8');
    const { responseTopic, correlationData } = packet.properties ?? {};
    const answer = (value: object) => {
      if (responseTopic) publish(responseTopic, value, correlationData);
    };
    try {
      if (more.length > 0) throw new Refusal('unknown-command', 'a command is <command>/<channel>');
      passTime();
      command(commandName, channel, text);
      publishStatus();
      answer({ ok: true });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { code, message } = error;
      publish(`/${name}/error`, {
        command: commandName,
        channel,
        payload: text.slice(0, 200),
        code,
        message,
      });
      answer({ ok: false, code, message });
    }
  }

  client.on('connect', () => {
    console.log(`${name} is connected`);
    client.subscribe(`/${name}/cmd/#`, { qos: 1 });
  });
  client.on('error', (error) => console.error(`${name}: ${error.message}`));
  client.on('message', take);
  const timer = setInterval(() => {
    passTime();
    publishStatus();
  }, statusEveryMs);
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      clearInterval(timer);
      client.end(true, {}, () => process.exit(0));
    });
}
