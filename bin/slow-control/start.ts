/**
 * The slow-control demonstrator: a whole Boardwalk, a broker with dummy devices on it, a gateway
 * between them, and InfluxDB and Node-RED on the other side. One supervisor runs all of it.
 */
import { join } from 'node:path';
import type { Say } from '../setup/progress.ts';
import { installTools } from '../setup/tools.ts';
import { requireFreePort } from '../stack/ports.ts';
import { loadSecretsFile, writeSecretFiles } from '../stack/secrets.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { acceptSensor, createInfluxSink, createInterlock, loginAsAdmin, nodeRedKey } from './boardwalk.ts';
import { type Account, accountNames, createBrokerPart } from './broker.ts';
import { createDeviceParts } from './devices.ts';
import { createSlowControlGateway } from './gateway.ts';
import { createInfluxPart, prepareInflux } from './influxdb.ts';
import { createEditorPart, deployFlows } from './node-red.ts';
import type { SlowControlSettings } from './settings.ts';

export interface SlowControl {
  stack: Stack;
  nodeRed: { url: string; password: string };
  influxUrl: string;
  stop(): Promise<void>;
}

export interface SlowControlOptions {
  say: Say;
  signal: AbortSignal;
  hurry: AbortSignal;
}

export async function startSlowControl(
  settings: SlowControlSettings,
  options: SlowControlOptions,
): Promise<SlowControl> {
  const { say, signal } = options;
  await requireFreePorts(settings);
  const { toolsDir, databaseUrl } = settings.stack;
  const { parts } = await installTools({
    toolsDir,
    mariadb: databaseUrl === undefined,
    parts: ['mosquitto', 'influxdb', 'nodeRed'],
    say,
    signal,
  });
  const stack = await startStack(settings.stack, options);
  try {
    return { stack, stop: stack.stop, ...(await startNeighbours({ settings, stack, say, signal, parts })) };
  } catch (error) {
    await stack.stop();
    throw signal.aborted ? signal.reason : error;
  }
}

interface Context {
  settings: SlowControlSettings;
  stack: Stack;
  say: Say;
  signal: AbortSignal;
  parts: Awaited<ReturnType<typeof installTools>>['parts'];
}

const secretNames = [...accountNames, 'influxdb', 'nodeRed'] as const;

async function startNeighbours(context: Context): Promise<Pick<SlowControl, 'nodeRed' | 'influxUrl'>> {
  const { settings, stack, say, signal, parts } = context;
  const { mosquitto, influxdb, nodeRed } = parts;
  if (!mosquitto || !influxdb || !nodeRed) throw new Error('asked for them');
  const { home, admin } = stack;
  const { mqttPort, influxPort, influxRpcPort, nodeRedPort } = settings;
  const secrets = await loadSecretsFile(join(home, 'slow-control.json'), secretNames);
  const passwordFiles = await writePasswordFiles(home, secrets);

  say('Starting Mosquitto, the devices, InfluxDB and Node-RED …');
  const influx = {
    tools: influxdb,
    home,
    port: influxPort,
    rpcPort: influxRpcPort,
    password: secrets.influxdb,
  };
  const editor = { tools: nodeRed, home, port: nodeRedPort, password: secrets.nodeRed };
  await Promise.all([
    stack.start(await createInfluxPart(influx)).then(() => prepareInflux(influx)),
    stack.start(await createEditorPart(editor)),
    stack.start(await createBrokerPart({ tools: mosquitto, home, port: mqttPort, passwords: secrets })),
  ]);
  for (const part of createDeviceParts({ mqttPort, passwordFiles })) await stack.start(part);

  const api = await loginAsAdmin(admin);
  const { wampUrl, tenant, apiUrl } = admin;
  const gateway = { home, wampUrl, tenant, api, mqttPort, passwordFile: passwordFiles.gateway, signal };
  const gatewayPart = await createSlowControlGateway(gateway);
  // Before the first reading comes.
  await acceptSensor(api);
  await createInfluxSink(api, tenant, influx);
  await createInterlock(api, tenant);
  await stack.start(gatewayPart);
  await deployFlows(editor, { apiUrl, apiKey: await nodeRedKey(api, admin, home) });
  return {
    nodeRed: { url: `http://127.0.0.1:${nodeRedPort}`, password: secrets.nodeRed },
    influxUrl: `http://127.0.0.1:${influxPort}`,
  };
}

/** A file for each account on the broker: devices and gateway read theirs, nobody's is in an environment. */
async function writePasswordFiles(
  home: string,
  passwords: Record<Account, string>,
): Promise<Record<Account, string>> {
  const variables = Object.fromEntries(
    accountNames.map((name) => [`MQTT_${name.toUpperCase()}`, passwords[name]]),
  );
  const files = await writeSecretFiles(home, variables);
  return Object.fromEntries(
    accountNames.map((name) => [name, files[`MQTT_${name.toUpperCase()}_FILE`]]),
  ) as Record<Account, string>;
}

async function requireFreePorts(settings: SlowControlSettings): Promise<void> {
  await requireFreePort(settings.mqttPort, 'Mosquitto', 'BOARDWALK_MQTT_PORT');
  await requireFreePort(settings.influxPort, 'InfluxDB', 'BOARDWALK_INFLUX_PORT');
  await requireFreePort(settings.influxRpcPort, "InfluxDB's backups", 'BOARDWALK_INFLUX_RPC_PORT');
  await requireFreePort(settings.nodeRedPort, 'Node-RED', 'BOARDWALK_NODE_RED_PORT');
}
