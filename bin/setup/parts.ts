/**
 * Real neighbours for the tests and the slow-control demonstrator: a broker, CoAP clients, an InfluxDB
 * and a Node-RED. Boardwalk itself runs without them, so `npm start` never fetches any.
 */
import { join } from 'node:path';
import { unpackedLibraryPath, unpackOnce } from './debian-packages.ts';
import { findProgram, run } from './exec.ts';
import { findOrInstallNodeRed, type NodeRedTools } from './node-red.ts';
import { type Say, SetupError } from './progress.ts';

export interface MosquittoTools {
  mosquitto: string;
  publish: string;
  subscribe: string;
  /** Writes password files. */
  passwd: string;
  /** Variables that its programs need. */
  env: Record<string, string>;
}

export interface CoapTools {
  client: string;
  /** With DTLS: `coaps://`, pre-shared keys and certificates. */
  secureClient: string;
  secureServer: string;
  env: Record<string, string>;
}

export interface InfluxdbTools {
  influxd: string;
  env: Record<string, string>;
}

/** Makes the tests' certificates. */
export interface OpensslTools {
  openssl: string;
  env: Record<string, string>;
}

export interface PartTools {
  mosquitto: MosquittoTools;
  coap: CoapTools;
  influxdb: InfluxdbTools;
  nodeRed: NodeRedTools;
  openssl: OpensslTools;
}

export type PartName = keyof PartTools;

export const partNames = [
  'mosquitto',
  'coap',
  'influxdb',
  'nodeRed',
  'openssl',
] as const satisfies readonly PartName[];

interface InstallOptions {
  toolsDir: string;
  say: Say;
  signal?: AbortSignal;
}

type Install<T> = (options: InstallOptions) => Promise<T>;

const installers: { [P in PartName]: Install<PartTools[P]> } = {
  mosquitto: findOrInstallMosquitto,
  coap: findOrInstallCoap,
  influxdb: findOrInstallInfluxdb,
  nodeRed: findOrInstallNodeRed,
  openssl: findOrInstallOpenssl,
};

/** Throws a SetupError of one sentence (and the installer's own words after it) for a part that can't be had. */
export async function findOrInstallPart<P extends PartName>(
  name: P,
  options: InstallOptions,
): Promise<PartTools[P]> {
  return installers[name](options);
}

async function findOrInstallMosquitto(options: InstallOptions): Promise<MosquittoTools> {
  const { programs, env } = await findOrUnpack(options, {
    name: 'mosquitto',
    title: 'Mosquitto',
    about: '1 MB, about 4 s',
    packages: ['mosquitto', 'mosquitto-clients'],
    programs: ['mosquitto', 'mosquitto_pub', 'mosquitto_sub', 'mosquitto_passwd'],
  });
  const [mosquitto = '', publish = '', subscribe = '', passwd = ''] = programs;
  return { mosquitto, publish, subscribe, passwd, env };
}

async function findOrInstallCoap(options: InstallOptions): Promise<CoapTools> {
  const { programs, env } = await findOrUnpack(options, {
    name: 'coap',
    title: "libcoap's clients",
    about: '1 MB, about 4 s',
    packages: ['libcoap3-bin'],
    programs: ['coap-client-notls', 'coap-client-openssl', 'coap-server-openssl'],
  });
  const [client = '', secureClient = '', secureServer = ''] = programs;
  return { client, secureClient, secureServer, env };
}

async function findOrInstallInfluxdb(options: InstallOptions): Promise<InfluxdbTools> {
  const { programs, env } = await findOrUnpack(options, {
    name: 'influxdb',
    title: 'InfluxDB',
    about: '5 MB, about 4 s',
    packages: ['influxdb'],
    programs: ['influxd'],
    // Version 2 has another API, set-up and storage.
    suits: async ([influxd = '']) => /InfluxDB v1\./.test(await run(influxd, ['version'])),
  });
  return { influxd: programs[0] ?? '', env };
}

async function findOrInstallOpenssl(options: InstallOptions): Promise<OpensslTools> {
  const { programs, env } = await findOrUnpack(options, {
    name: 'openssl',
    title: 'OpenSSL',
    about: '1 MB, about 3 s',
    packages: ['openssl'],
    programs: ['openssl'],
  });
  return { openssl: programs[0] ?? '', env };
}

interface DebianPart {
  name: string;
  title: string;
  about: string;
  packages: readonly string[];
  programs: readonly string[];
  /** Whether what is on the PATH will do. */
  suits?: (programs: readonly string[]) => Promise<boolean>;
}

/** What is on the PATH, complete; or Debian's packages, unpacked. */
async function findOrUnpack(
  options: InstallOptions,
  part: DebianPart,
): Promise<{ programs: string[]; env: Record<string, string> }> {
  const found = part.programs.map((name) => findProgram(name, ['/usr/sbin', '/usr/local/sbin']));
  const complete = found.filter((path) => path !== undefined);
  if (complete.length === found.length && ((await part.suits?.(complete)) ?? true))
    return { programs: complete, env: {} };
  const root = await unpack(options, part);
  const programs = part.programs.map((name) => {
    const path = findProgram(name, [join(root, 'usr/bin'), join(root, 'usr/sbin')], '');
    if (path === undefined) throw new SetupError(`${part.title}'s packages hold no ${name}.`);
    return path;
  });
  return { programs, env: { LD_LIBRARY_PATH: await unpackedLibraryPath(root) } };
}

async function unpack(options: InstallOptions, part: DebianPart): Promise<string> {
  const purpose = `There is no ${part.title}: install ${part.packages.join(' and ')}`;
  try {
    return await unpackOnce({ ...options, ...part, purpose });
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof SetupError && error.message.startsWith(purpose)) throw error;
    throw new SetupError(
      `${purpose}, because Debian's packages can't be fetched here: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}
