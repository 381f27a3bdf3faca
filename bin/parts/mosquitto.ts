/** A Mosquitto broker of its own: loopback, its own folder, what it keeps survives a restart. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../setup/exec.ts';
import type { MosquittoTools } from '../setup/parts.ts';
import { canConnect } from '../stack/ports.ts';
import type { Part } from '../stack/supervisor.ts';

export interface MosquittoOptions {
  tools: MosquittoTools;
  dir: string;
  port: number;
  /** Accounts by name; without any, everybody may connect. */
  passwords?: Record<string, string>;
  /** Lines of mosquitto's acl_file, e.g. `user hv`, `topic readwrite /hv/#`. */
  acl?: readonly string[];
  tls?: MosquittoTls;
  /** Further lines of mosquitto.conf(5). */
  settings?: readonly string[];
}

export interface MosquittoTls {
  port: number;
  /** Files, PEM. */
  ca: string;
  certificate: string;
  key: string;
}

/** Writes configuration, password and access files, and gives the part that serves them. */
export async function createMosquittoPart(options: MosquittoOptions): Promise<Part> {
  const { tools, dir, port, tls } = options;
  await mkdir(join(dir, 'state'), { recursive: true, mode: 0o700 });
  const config = join(dir, 'mosquitto.conf');
  await writeFile(config, `${(await configLines(options)).join('\n')}\n`, { mode: 0o600 });
  return {
    name: 'mosquitto',
    command: tools.mosquitto,
    args: ['-c', config],
    env: { ...process.env, ...tools.env },
    ready: async () => {
      await canConnect(port);
      if (tls) await canConnect(tls.port);
    },
  };
}

async function configLines(options: MosquittoOptions): Promise<string[]> {
  const { dir, port, tls, passwords, acl } = options;
  const lines = [`listener ${port} 127.0.0.1`, 'socket_domain ipv4'];
  if (tls)
    lines.push(
      `listener ${tls.port} 127.0.0.1`,
      `cafile ${tls.ca}`,
      `certfile ${tls.certificate}`,
      `keyfile ${tls.key}`,
    );
  lines.push(`allow_anonymous ${passwords === undefined}`);
  if (passwords) lines.push(`password_file ${await writePasswordFile(options, passwords)}`);
  if (acl) {
    const path = join(dir, 'acl');
    await writeFile(path, `${acl.join('\n')}\n`, { mode: 0o600 });
    lines.push(`acl_file ${path}`);
  }
  // It gives root away to an account that can't read this folder, unless it is told not to.
  if (process.getuid?.() === 0) lines.push('user root');
  lines.push(
    'persistence true',
    `persistence_location ${join(dir, 'state')}/`,
    'log_dest stdout',
    'log_type error',
    'log_type warning',
    'log_type notice',
    ...(options.settings ?? []),
  );
  return lines;
}

/** The file is made with plain passwords and hashed where it is: none is ever on a command line. */
async function writePasswordFile(
  { tools, dir }: MosquittoOptions,
  passwords: Record<string, string>,
): Promise<string> {
  const path = join(dir, 'passwords');
  const lines = Object.entries(passwords).map(([name, password]) => `${name}:${password}\n`);
  await writeFile(path, lines.join(''), { mode: 0o600 });
  await run(tools.passwd, ['-U', path], { env: { ...process.env, ...tools.env } });
  return path;
}
