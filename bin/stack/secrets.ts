/** The stack's generated secrets: made once, kept in one file, handed to processes as files. */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asObject, asString } from '../../common/runtime/guards.ts';
import { readJsonFile, writePrivateFile } from './private-files.ts';

export interface StackSecrets {
  databasePassword: string;
  relayKey: string;
  agentTicket: string;
  adminPassword: string;
}

const names = ['databasePassword', 'relayKey', 'agentTicket', 'adminPassword'] as const;

/** Reads `secrets.json`, and adds what it lacks. */
export function loadSecrets(home: string): Promise<StackSecrets> {
  return loadSecretsFile(join(home, 'secrets.json'), names);
}

/** Secrets by name, kept in one file; those that it lacks are made. */
export async function loadSecretsFile<Name extends string>(
  path: string,
  wanted: readonly Name[],
): Promise<Record<Name, string>> {
  const kept = asObject((await readJsonFile(path)) ?? {}, path);
  const secrets = Object.fromEntries(
    wanted.map((name) => [
      name,
      kept[name] === undefined
        ? // 144 random bits, in letters that need no quoting in SQL, URLs or shells.
          randomBytes(18).toString('base64url')
        : asString(kept[name], `${path}: ${name}`, { max: 200, pattern: /^[A-Za-z0-9_-]+$/ }),
    ]),
  ) as Record<Name, string>;
  await writePrivateFile(path, `${JSON.stringify(secrets, null, 2)}\n`);
  return secrets;
}

/**
 * Writes secrets where `<NAME>_FILE` variables can point to, and gives those variables: a secret in
 * the environment itself would be shown by process lists.
 */
export async function writeSecretFiles<Name extends string>(
  home: string,
  values: Record<Name, string>,
): Promise<Record<`${Name}_FILE`, string>> {
  const dir = join(home, 'secrets');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries<string>(values)) {
    const path = join(dir, name.toLowerCase().replaceAll('_', '-'));
    await writePrivateFile(path, value);
    variables[`${name}_FILE`] = path;
  }
  return variables as Record<`${Name}_FILE`, string>;
}
