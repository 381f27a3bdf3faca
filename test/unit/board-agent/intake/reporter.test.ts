import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createModulesReporter, type ModulesReporter } from '../../../../board-agent/intake/reporter.ts';
import { AppError } from '../../../../common/runtime/app-error.ts';
import {
  type ModulesAnswer,
  type ModulesRequest,
  parseModulesRequest,
} from '../../../../common/wamp/modules.ts';
import { silent } from '../fakes.ts';
import { type Bench, createBench, reading } from './support.ts';

let bench: Bench;
let requests: ModulesRequest[];
let answer: ModulesAnswer;
let refuse: AppError | undefined;
let warnings: number;
let abort: AbortController;
let running: Promise<void> | undefined;
let reporter: ModulesReporter;

const countWarning = () => {
  warnings += 1;
};

/** Moves time on in small steps, with some turns of the event loop for the commits in each. */
async function pass(ms: number): Promise<void> {
  const stepMs = Math.max(100, ms / 200);
  for (let left = ms; left >= 0; left -= stepMs) {
    await bench.clock.advance(Math.min(stepMs, left));
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
}

beforeEach(() => {
  requests = [];
  warnings = 0;
  refuse = undefined;
  answer = { unknownDevices: 'create', createPerMinute: 10_000, version: 'v1', decisions: [] };
  bench = createBench();
  abort = new AbortController();
  reporter = createModulesReporter({
    intake: bench.intake,
    clock: bench.clock,
    logger: { ...silent, warn: countWarning },
    random: () => 0.5,
    async send(request) {
      if (refuse) throw refuse;
      requests.push(parseModulesRequest(structuredClone(request)));
      const decisions = answer.decisions ?? [];
      for (const { name, state } of request.modules)
        if (!decisions.some((each) => each.name === name)) decisions.push({ name, state });
      return { ...answer, decisions };
    },
  });
  running = undefined;
});

afterEach(async () => {
  abort.abort();
  await running;
  bench.close();
});

function goOnline(): Promise<void> {
  running = reporter.run(abort.signal);
  return pass(0);
}

const names = (request: ModulesRequest | undefined) => request?.modules.map((each) => each.name);
const take = (name: string, seq: number) => bench.door.take(reading(name, seq, { v: seq }));

describe('the report of modules', () => {
  it('asks for the decisions before it says what it did without them', async () => {
    await take('n1', 1);
    await goOnline();
    expect(requests.map(names)).toEqual([[], ['n1']]);
    expect(requests[1]).toMatchObject({
      version: 'v1',
      modules: [{ name: 'n1', state: 'accepted', received: 1 }],
    });
    expect(requests[1]?.sources).toEqual([
      { name: 'field', kind: 'test', received: 1, stored: 1, duplicate: 0, rejected: 0, waiting: 0 },
    ]);
  });

  it('tells of a new device after a second, and of counts after five', async () => {
    await goOnline();
    requests.length = 0;
    await take('n1', 1);
    await pass(900);
    expect(requests).toEqual([]);
    await pass(200);
    expect(requests.map(names)).toEqual([['n1']]);
    await take('n1', 2);
    await pass(4900);
    expect(requests).toHaveLength(1);
    await pass(200);
    expect(requests.map(names)).toEqual([['n1'], ['n1']]);
    await pass(600_000);
    expect(requests).toHaveLength(2);
  });

  it('asks every 15 seconds while something is held, and lets it go when it may', async () => {
    answer = { ...answer, unknownDevices: 'quarantine' };
    await goOnline();
    await take('n1', 1);
    await pass(6000);
    requests.length = 0;
    await pass(31_000);
    expect(requests).toHaveLength(2);
    answer = { ...answer, version: 'v2', decisions: [{ name: 'n1', state: 'accepted' }] };
    await pass(16_000);
    expect(bench.spool.peek(10)?.readings).toHaveLength(1);
    expect(bench.intake.isHolding()).toBe(false);
  });

  it('tells everything in chunks after a hello', async () => {
    await goOnline();
    await Promise.all(Array.from({ length: 450 }, (_, index) => take(`d${index}`, 1)));
    await pass(2000);
    requests.length = 0;
    reporter.noteHello();
    await pass(0);
    expect(requests.map((each) => each.modules.length)).toEqual([200, 200, 50]);
  });

  it('reports at once when the server asks, and says of how many', async () => {
    await goOnline();
    await take('n1', 1);
    await take('n2', 1);
    expect(await reporter.reportNow()).toEqual({ reported: 2 });
    expect(await reporter.reportNow()).toEqual({ reported: 0 });
  });

  it('says once that an older server does not know of modules, and tries again when it is greeted', async () => {
    refuse = new AppError('procedure-not-found', 'no such procedure');
    await goOnline();
    await take('n1', 1);
    await pass(3_600_000);
    expect(warnings).toBe(1);
    refuse = undefined;
    reporter.noteHello();
    await pass(0);
    expect(requests.map(names)).toEqual([[], ['n1']]);
  });

  it('tells again what did not arrive', async () => {
    await goOnline();
    requests.length = 0;
    await take('n1', 1);
    refuse = new AppError('deadline-exceeded', 'no answer');
    await pass(1100);
    refuse = undefined;
    await pass(61_000);
    expect(requests.map(names)).toEqual([['n1']]);
  });
});
