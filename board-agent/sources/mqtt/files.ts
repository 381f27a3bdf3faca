/** Certificates and the password of a broker, read anew for each connection: they may be renewed. */
import { readFileSync } from 'node:fs';
import { messageOf } from '../../../common/runtime/app-error.ts';
import { readSecretFile } from '../../state/secret-file.ts';
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
    ...(passwordFile !== undefined && { password: readSecret('passwordFile', passwordFile).toString() }),
    ...(caFile !== undefined && { ca: readFileSync(caFile) }),
    ...(certFile !== undefined && { cert: readFileSync(certFile) }),
    ...(keyFile !== undefined && { key: readSecret('keyFile', keyFile) }),
  };
}

/** Throws Error naming the setting and the file. */
function readSecret(setting: string, path: string): Buffer {
  try {
    return readSecretFile(path);
  } catch (error) {
    throw new Error(`${setting} ${path}: ${messageOf(error)}`, { cause: error });
  }
}
