/**
 * Messages that a broker has kept for this board, acknowledged when they are on its disk, against
 * Debian's own subscriber and the same messages. Both are subscribed, both are stopped while the
 * messages are published once, and then let go one after the other: the broker is never short of
 * messages, and publishing takes nothing from either. The agent runs as on any gateway and sends its
 * readings to the stack meanwhile.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RowDataPacket } from 'mysql2/promise';
import { callAgent } from '../../board-agent/control/client.ts';
import { startMosquitto, type TestMosquitto } from '../../test/harness/mosquitto.ts';
import { runProgram } from '../../test/harness/run-program.ts';
import { enrolBoard, type TestBoard } from '../../test/harness/test-board.ts';
import { testPart } from '../../test/harness/tools.ts';
import { until } from '../../test/harness/until.ts';
import type { BenchContext } from '../context.ts';
import { alternate, median } from '../measure.ts';
import { usageOf } from '../processes.ts';
import { createResult, type Result } from '../results.ts';

const messages = 20_000;
const devices = 20;
const rounds = 5;
const topic = 'bench/readings';
/** Asking costs the agent two milliseconds. */
const patience = { timeoutMs: 120_000, everyMs: 50 };

export async function measureMqtt(context: BenchContext): Promise<Result[]> {
  await context.database.query("UPDATE tenants SET unknown_devices = 'create', devices_per_minute = 1000");
  const broker = await startMosquitto({ settings: ['max_inflight_messages 1000', 'max_queued_messages 0'] });
  const rules = [{ match: topic, decoder: 'json' }];
  const source = { kind: 'mqtt', urls: [broker.url], rules, maxPerSecond: 100_000 };
  const board = await enrolBoard(context.stack, { name: 'bench-mqtt', settings: { sources: [source] } });
  try {
    // The first run strips the types; later ones find that done, as an installed agent does.
    await board.start();
    await board.end('SIGTERM');
    await board.start();
    return await measure(context, broker, board);
  } finally {
    await board.end('SIGTERM');
    await broker.stop();
  }
}

async function measure(context: BenchContext, broker: TestMosquitto, board: TestBoard): Promise<Result[]> {
  const pid = board.pid() ?? 0;
  const resident: number[] = [];
  const ends: number[] = [];
  let published = 0;

  /** Every one of them is another one: its number and value are. */
  async function publish(): Promise<void> {
    const lines = Array.from({ length: messages }, (_, index) => {
      const seq = published + index;
      return JSON.stringify({ device: `n${seq % devices}`, seq, data: { v: seq / 10 } });
    });
    published += messages;
    await publishLines(broker, lines);
  }

  async function atAgent(): Promise<number> {
    process.kill(pid, 'SIGSTOP');
    await publish();
    const startedAt = performance.now();
    process.kill(pid, 'SIGCONT');
    await until('all on disk', async () => (await storedBy(board)) >= published, patience);
    const ms = performance.now() - startedAt;
    resident.push(usageOf(pid).residentMegabytes);
    await until('all in the database', async () => (await rowsOf(context, board)) >= published, patience);
    ends.push((messages / (performance.now() - startedAt)) * 1000);
    return (messages / ms) * 1000;
  }

  async function atSubscriber(): Promise<number> {
    const subscriber = await startSubscriber(broker);
    process.kill(pid, 'SIGSTOP');
    subscriber.child.kill('SIGSTOP');
    await publish();
    const startedAt = performance.now();
    subscriber.child.kill('SIGCONT');
    await subscriber.ended;
    const ms = performance.now() - startedAt;
    // The board has the same to do before the next round.
    process.kill(pid, 'SIGCONT');
    await until('all in the database', async () => (await rowsOf(context, board)) >= published, patience);
    return (messages / ms) * 1000;
  }

  try {
    // Both are warm then.
    await atAgent();
    ends.length = 0;
    const measured = await alternate(rounds, atSubscriber, atAgent);
    await sleep(500);
    const [raw, value] = [median(measured.raw), median(measured.product)];
    const unit = 'messages/s';
    return [
      createResult(
        { name: 'mqtt.ingest', unit, value, raw, note: 'on disk; raw: mosquitto_sub -q 1' },
        { atLeast: 0.3 },
      ),
      createResult({ name: 'mqtt.ingest.end', unit, value: median(ends), raw, note: 'in the database' }),
      createResult({ name: 'mqtt.rss', unit: 'MB', value: Math.max(...resident) }, { atMost: 120 }),
    ];
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

async function publishLines(broker: TestMosquitto, lines: readonly string[]): Promise<void> {
  const tools = await testPart('mosquitto');
  const args = ['-h', '127.0.0.1', '-p', String(broker.port), '-q', '1', '-t', topic, '-l'];
  const { code, stderr } = await runProgram(tools.publish, args, {
    env: tools.env,
    input: `${lines.join('\n')}\n`,
    timeoutMs: 120_000,
  });
  if (code !== 0) throw new Error(`mosquitto_pub ended with ${code}: ${stderr}`);
}

/** Resolves when it is subscribed; it ends when all messages have come. */
async function startSubscriber(
  broker: TestMosquitto,
): Promise<{ child: ChildProcess; ended: Promise<void> }> {
  const tools = await testPart('mosquitto');
  const hello = 'bench/hello';
  const address = ['-h', '127.0.0.1', '-p', String(broker.port), '-q', '1'];
  const child = spawn(tools.subscribe, [...address, '-t', topic, '-t', hello, '-C', String(messages + 1)], {
    env: { ...process.env, ...tools.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const heard = new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
  child.stdout?.resume();
  // Kept by the broker, so that it comes with the subscription.
  await broker.publish(hello, 'hello', { retain: true });
  await heard;
  return { child, ended };
}

async function storedBy(board: TestBoard): Promise<number> {
  const { result } = (await callAgent(board.state, 'support_bundle', {})) as {
    result: { bundle: { agent: { intake?: { sources: { stored: number }[] } } } };
  };
  return result.bundle.agent.intake?.sources[0]?.stored ?? 0;
}

async function rowsOf({ database }: BenchContext, board: TestBoard): Promise<number> {
  const [[row]] = await database.query<RowDataPacket[]>(
    'SELECT COUNT(*) AS rows_ FROM readings WHERE stream_id IN (SELECT id FROM streams WHERE board_uuid = ?)',
    [board.uuid],
  );
  return Number(row?.rows_);
}
