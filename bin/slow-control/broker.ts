/**
 * The devices' own bus. Each account may do on it what it must and nothing else; whoever has the
 * operator's password stands at the devices. People and services elsewhere go through the API, with
 * roles, contracts and an audit.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createMosquittoPart } from '../parts/mosquitto.ts';
import type { MosquittoTools } from '../setup/parts.ts';
import { writePrivateFile } from '../stack/private-files.ts';
import type { Part } from '../stack/supervisor.ts';

export const deviceNames = ['hv', 'lv', 'sensor'] as const;
export const accountNames = [...deviceNames, 'gateway', 'operator'] as const;
export type Account = (typeof accountNames)[number];

export interface BrokerOptions {
  tools: MosquittoTools;
  home: string;
  port: number;
  passwords: Record<Account, string>;
}

const accessRules = [
  ...deviceNames.flatMap((name) => [
    `user ${name}`,
    `topic read /${name}/cmd/#`,
    `topic write /${name}/status`,
    `topic write /${name}/error`,
  ]),
  'user gateway',
  'topic read /+/status',
  'topic read /+/error',
  'topic write /+/cmd/#',
  'user operator',
  'topic readwrite #',
];

export async function createBrokerPart({ tools, home, port, passwords }: BrokerOptions): Promise<Part> {
  await writeClients({ tools, home, port, passwords });
  return createMosquittoPart({ tools, dir: join(home, 'mosquitto'), port, passwords, acl: accessRules });
}

/** `<home>/bin/mosquitto_pub` and `…_sub`: Debian's programs as the operator, with the password in a file. */
async function writeClients({ tools, home, port, passwords }: BrokerOptions): Promise<void> {
  const config = join(home, 'operator');
  const bin = join(home, 'bin');
  await mkdir(config, { recursive: true, mode: 0o700 });
  await mkdir(bin, { recursive: true });
  const library = tools.env.LD_LIBRARY_PATH;
  for (const [name, program] of [
    ['mosquitto_pub', tools.publish],
    ['mosquitto_sub', tools.subscribe],
  ] as const) {
    const options = ['-h 127.0.0.1', `-p ${port}`, '-u operator', `-P ${passwords.operator}`, '-q 1'];
    await writePrivateFile(join(config, name), `${options.join('\n')}\n`);
    const variables = [
      `XDG_CONFIG_HOME='${config}'`,
      ...(library === undefined ? [] : [`LD_LIBRARY_PATH='${library}'`]),
    ];
    const script = `#!/bin/sh\n${variables.join(' ')} exec '${program}' "$@"\n`;
    await writeFile(join(bin, name), script, { mode: 0o755 });
  }
}
