/** Certificates and the password of a broker, read anew for each connection: they may be renewed. */
import { readFileSync, statSync } from 'node:fs';
import type { MqttSourceSettings } from './settings.ts';

export interface Credentials {
  username?: string;
  password?: string;
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/** Throws Error naming the file. */
export function readCredentials(settings: MqttSourceSettings): Credentials {
  const { username, passwordFile, caFile, certFile, keyFile } = settings;
  return {
    ...(username !== undefined && { username }),
    ...(passwordFile !== undefined && { password: readPassword(passwordFile) }),
    ...(caFile !== undefined && { ca: readFileSync(caFile) }),
    ...(certFile !== undefined && { cert: readFileSync(certFile) }),
    ...(keyFile !== undefined && { key: readFileSync(keyFile) }),
  };
}

function readPassword(path: string): string {
  const { mode } = statSync(path);
  if ((mode & 0o077) !== 0)
    throw new Error(`passwordFile ${path}: others may read it (mode ${(mode & 0o777).toString(8)})`);
  return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
}
