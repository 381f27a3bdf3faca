/** A real InfluxDB 1.x for a test file. */
import { createInfluxdbPart } from '../../bin/parts/influxdb.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { startPart } from './part-folder.ts';
import { testPart } from './tools.ts';

export interface TestInfluxdb {
  port: number;
  url: string;
  /** Runs InfluxQL; throws with the server's words. One object per row, `time` in ms since 1970, tags included. */
  query(statement: string, database?: string): Promise<InfluxRow[]>;
  createDatabase(name: string): Promise<void>;
  restart(): Promise<void>;
  down(): Promise<void>;
  up(): Promise<void>;
  /** Kills it; it comes back by itself. */
  kill(signal?: NodeJS.Signals): void;
  stop(): Promise<void>;
}

export type InfluxRow = Record<string, string | number | boolean | null>;

export interface TestInfluxdbOptions {
  /** Ask for a login: this one is made, with all rights, and used by query(). */
  admin?: { username: string; password: string };
}

interface Result {
  error?: string;
  series?: {
    name: string;
    tags?: Record<string, string>;
    columns: string[];
    values: InfluxRow[string][][];
  }[];
}

export async function startInfluxdb(options: TestInfluxdbOptions = {}): Promise<TestInfluxdb> {
  const { admin } = options;
  const tools = await testPart('influxdb');
  const [port, rpcPort] = [await findFreePort(), await findFreePort()];
  const url = `http://127.0.0.1:${port}`;
  const life = await startPart('influxdb', (dir) =>
    createInfluxdbPart({ tools, dir, port, rpcPort, auth: admin !== undefined }),
  );

  async function query(statement: string, database?: string): Promise<InfluxRow[]> {
    const login = admin && Buffer.from(`${admin.username}:${admin.password}`).toString('base64');
    const response = await fetch(`${url}/query`, {
      method: 'POST',
      headers: login === undefined ? {} : { Authorization: `Basic ${login}` },
      body: new URLSearchParams({ q: statement, epoch: 'ms', ...(database ? { db: database } : {}) }),
      signal: AbortSignal.timeout(20_000),
    });
    const answer = (await response.json()) as { error?: string; results?: Result[] };
    const error = answer.error ?? answer.results?.find((result) => result.error)?.error;
    if (error !== undefined) throw new Error(`InfluxDB refuses ${statement}: ${error}`);
    return (answer.results ?? []).flatMap(rowsOf);
  }

  try {
    if (admin)
      await query(`CREATE USER "${admin.username}" WITH PASSWORD '${admin.password}' WITH ALL PRIVILEGES`);
  } catch (error) {
    await life.stop();
    throw error;
  }
  return {
    port,
    url,
    query,
    createDatabase: async (name) => void (await query(`CREATE DATABASE "${name}"`)),
    restart: life.restart,
    down: life.down,
    up: life.up,
    kill: life.kill,
    stop: life.stop,
  };
}

function rowsOf(result: Result): InfluxRow[] {
  return (result.series ?? []).flatMap(({ tags, columns, values }) =>
    values.map((row) => ({
      ...tags,
      ...Object.fromEntries(columns.map((name, at) => [name, row[at] ?? null])),
    })),
  );
}
