/** A real broker for a test file, and Debian's own clients to publish and subscribe with. */
import { join } from 'node:path';
import { createMosquittoPart } from '../../bin/parts/mosquitto.ts';
import { findFreePort } from '../../bin/stack/ports.ts';
import { createCertificates, type TestCertificates } from './certificates.ts';
import { startPart } from './part-folder.ts';
import { type ProgramResult, runProgram } from './run-program.ts';
import { testPart } from './tools.ts';

export interface TestMosquitto {
  port: number;
  /** `mqtt://127.0.0.1:<port>` */
  url: string;
  /** With `tls: true`: `mqtts://localhost:<port>`, and the files to trust it by. */
  tls?: { port: number; url: string } & TestCertificates;
  /** Runs mosquitto_pub; throws with its words when it fails. */
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void>;
  /** Runs mosquitto_sub until `count` messages have come; throws after `timeoutMs`. */
  subscribe(topic: string, options?: SubscribeOptions): Promise<{ topic: string; payload: string }[]>;
  /** Stops it and starts it again on the same port; what it keeps (retained, sessions, queues) is still there. */
  restart(): Promise<void>;
  down(): Promise<void>;
  up(): Promise<void>;
  /** Kills it; it comes back by itself. */
  kill(signal?: NodeJS.Signals): void;
  pid(): number | undefined;
  stop(): Promise<void>;
}

export interface TestMosquittoOptions {
  tls?: boolean;
  passwords?: Record<string, string>;
  acl?: readonly string[];
  settings?: readonly string[];
}

export interface ClientOptions {
  username?: string;
  password?: string;
  /** Over the TLS listener. */
  tls?: boolean;
  qos?: 0 | 1 | 2;
  /** Further arguments of the program. */
  args?: readonly string[];
}

export interface PublishOptions extends ClientOptions {
  retain?: boolean;
}

export interface SubscribeOptions extends ClientOptions {
  /** Default 1. */
  count?: number;
  /** Default 10,000. */
  timeoutMs?: number;
}

export async function startMosquitto(options: TestMosquittoOptions = {}): Promise<TestMosquitto> {
  const { tls: withTls = false, ...rest } = options;
  const tools = await testPart('mosquitto');
  const port = await findFreePort();
  let tls: TestMosquitto['tls'];
  const life = await startPart('mosquitto', async (dir) => {
    if (withTls) {
      const tlsPort = await findFreePort();
      const files = await createCertificates(join(dir, 'certificates'));
      tls = { port: tlsPort, url: `mqtts://localhost:${tlsPort}`, ...files };
    }
    return createMosquittoPart({ tools, dir, port, ...rest, ...(tls ? { tls } : {}) });
  });

  async function client(program: string, given: ClientOptions, args: string[], input?: string | Uint8Array) {
    const secure = given.tls ? tls : undefined;
    if (given.tls && !secure) throw new Error('started without tls');
    const where = secure
      ? ['-h', 'localhost', '-p', String(secure.port), '--cafile', secure.ca]
      : ['-h', '127.0.0.1', '-p', String(port)];
    const who = given.username ? ['-u', given.username, '-P', given.password ?? ''] : [];
    const all = [...where, ...who, '-q', String(given.qos ?? 1), ...args, ...(given.args ?? [])];
    return runProgram(program, all, {
      env: tools.env,
      ...(input === undefined ? {} : { input }),
      timeoutMs: 60_000,
    });
  }

  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    ...(tls ? { tls } : {}),
    async publish(topic, payload, given = {}) {
      const args = ['-t', topic, '-s', ...(given.retain ? ['-r'] : [])];
      requireSuccess('mosquitto_pub', await client(tools.publish, given, args, payload));
    },
    async subscribe(topic, given = {}) {
      const { count = 1, timeoutMs = 10_000 } = given;
      const limits = ['-C', String(count), '-W', String(Math.ceil(timeoutMs / 1_000))];
      const result = await client(tools.subscribe, given, ['-t', topic, ...limits, '-F', '%j']);
      requireSuccess('mosquitto_sub', result);
      return result.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { topic: string; payload: string });
    },
    restart: life.restart,
    down: life.down,
    up: life.up,
    kill: life.kill,
    pid: life.pid,
    stop: life.stop,
  };
}

function requireSuccess(program: string, { code, stdout, stderr }: ProgramResult): void {
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${stderr}${stdout}`);
}
