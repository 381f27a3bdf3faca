/** What the environment says about the stack of `npm start`; docs/operations.md lists the variables. */
import { join, resolve } from 'node:path';
import { createEnvReader, type Env, type EnvReader } from '../../common/runtime/config.ts';

export interface StackSettings {
  /** Everything that the stack keeps. */
  home: string;
  /** Crossbar and MariaDB programs; several stacks may share them. */
  toolsDir: string;
  apiPort: number;
  wampPort: number;
  databasePort: number;
  /** An existing server to use; none is started then. */
  databaseUrl: string | undefined;
  /** Start the demo gateway. */
  demo: boolean;
  agents: number;
  apis: number;
  conductors: number;
  /** Further variables for the servers. */
  env: Record<string, string>;
}

export const repositoryRoot = join(import.meta.dirname, '../..');
export const realm = 's4t';

const defaultHome = join(repositoryRoot, '.boardwalk');

export function readHome(env: Env): string {
  return env.BOARDWALK_HOME ? resolve(env.BOARDWALK_HOME) : defaultHome;
}

export function readStackSettings(env: Env): StackSettings {
  const reader = createEnvReader(env);
  const settings = readSettings(reader, readHome(env));
  reader.finish();
  return settings;
}

/** The same for whoever reads further variables; the caller finishes the reader. */
export function readSettings(reader: EnvReader, home: string): StackSettings {
  const port = (name: string, fallback: number) => reader.integer(name, fallback, { min: 1, max: 65_535 });
  return {
    home,
    toolsDir: resolve(reader.string('BOARDWALK_TOOLS', join(home, 'tools'))),
    apiPort: port('BOARDWALK_API_PORT', 8812),
    wampPort: port('BOARDWALK_WAMP_PORT', 8181),
    databasePort: port('BOARDWALK_DATABASE_PORT', 8813),
    databaseUrl: reader.optional('DATABASE_URL'),
    demo: reader.boolean('BOARDWALK_DEMO', true),
    agents: 1,
    apis: 1,
    conductors: 1,
    env: {},
  };
}
