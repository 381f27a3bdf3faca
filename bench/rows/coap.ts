/**
 * Posts of devices by CoAP, acknowledged when they are on the agent's disk, against the `coap`
 * library's server that gives back what it is sent. The load and both servers are processes of
 * their own; the agent runs as on any gateway and sends its readings to the stack meanwhile.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { enrolBoard } from '../../test/harness/test-board.ts';
import type { Load, Loaded } from '../coap/load.ts';
import type { BenchContext } from '../context.ts';
import { alternate, median } from '../measure.ts';
import { usageOf } from '../processes.ts';
import { createResult, type Result } from '../results.ts';

const posts = 20_000;
const width = 128;
const rounds = 5;
const sampleMs = 250;

export async function measureCoap(context: BenchContext): Promise<Result[]> {
  await context.database.query("UPDATE tenants SET unknown_devices = 'create', devices_per_minute = 1000");
  const [port, echoPort] = [await freePort(), await freePort()];
  const coap = { kind: 'coap', port, rules: [{ match: 'r', decoder: 'json' }], maxPerSecond: 10_000 };
  const board = await enrolBoard(context.stack, { name: 'bench-coap', settings: { sources: [coap] } });
  // The first run strips the types; later ones find that done, as an installed agent does.
  await board.start();
  await board.end('SIGTERM');
  await board.start();
  const echo = await started('echo.ts', [String(echoPort)]);
  const load = fork(join(import.meta.dirname, '../coap/load.ts'));
  const resident: number[] = [];
  const sampling = new AbortController();
  const sampled = sample(board.pid() ?? 0, resident, sampling.signal);
  let from = 0;
  const post = async (to: number): Promise<Loaded> => {
    const loaded = await ask(load, { port: to, posts, width, from });
    from += posts;
    if (loaded.refused > 0) throw new Error(`${loaded.refused} posts were not acknowledged with 2.04`);
    return loaded;
  };
  const rateAt = async (to: number) => (posts / (await post(to)).ms) * 1000;
  try {
    // Both are warm then.
    await rateAt(port);
    await rateAt(echoPort);
    const measured = await alternate(
      rounds,
      () => rateAt(echoPort),
      () => rateAt(port),
    );
    const result = { name: 'coap.ingest', unit: 'posts/s', value: median(measured.product) };
    return [
      createResult({ ...result, raw: median(measured.raw), note: `${width} under way` }, { atLeast: 0.5 }),
      createResult({ name: 'coap.rss', unit: 'MB', value: Math.max(...resident) }, { atMost: 120 }),
    ];
  } finally {
    sampling.abort();
    await sampled;
    load.kill();
    echo.kill();
    await board.end('SIGTERM');
  }
}

async function sample(pid: number, into: number[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    into.push(usageOf(pid).residentMegabytes);
    await sleep(sampleMs);
  }
}

/** Resolves when it has told that it listens. */
function started(file: string, args: string[]): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, '../coap', file), args);
  return new Promise((resolve, reject) => {
    child.once('message', () => resolve(child));
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}`)));
  });
}

function ask(child: ChildProcess, load: Load): Promise<Loaded> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null) => reject(new Error(`the load ended with ${code}`));
    child.once('exit', onExit);
    child.once('message', (loaded: Loaded) => {
      child.off('exit', onExit);
      resolve(loaded);
    });
    child.send(load);
  });
}

async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((bound) => socket.bind(0, '127.0.0.1', () => bound()));
  const { port } = socket.address();
  await new Promise<void>((closed) => socket.close(() => closed()));
  return port;
}
