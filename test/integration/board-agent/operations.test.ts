/** Operations on real agent processes, killed and started again, at a real router. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { enrol } from '../../../board-agent/commands/enrol.ts';
import { readStatus } from '../../../board-agent/commands/status.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import type { JsonObject } from '../../../common/runtime/guards.ts';
import { type BoardSchedule, scheduledOperationId } from '../../../common/wamp/board-schedules.ts';
import { endedReportStates } from '../../../common/wamp/operations.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { startFaultyProxy } from '../../harness/faulty-proxy.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, startStandIn } from './stand-in.ts';

let router: TestCrossbar;
let server: StandIn;
let stateDir: string;
let boardUuid: string;
let child: ChildProcess | undefined;

beforeAll(async () => {
  router = await startCrossbar();
  server = await startStandIn(router);
});

beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-board-'));
  boardUuid = randomUUID();
  const code = randomUUID();
  server.codes.set(code, { boardUuid });
  await enrol({ stateDir, urls: [router.url], code, realm: router.realm, say: () => {} });
  const streams = [{ name: 'n', waveform: 'constant' }];
  writeFileSync(
    join(stateDir, 'settings.json'),
    JSON.stringify({ sources: [{ kind: 'simulated', module: 'hv', streams }] }),
  );
});

afterEach(async () => {
  await end('SIGKILL');
  server.beforeResult = () => {};
  server.beforeChunk = () => {};
  server.reports.length = 0;
  server.progress.length = 0;
  server.artifacts.clear();
  rmSync(stateDir, { recursive: true });
});

afterAll(async () => {
  server?.stop();
  await router?.stop();
});

function spawnAgent(): ChildProcess {
  const program = join(repositoryRoot, 'bin/boardwalk-agent');
  return spawn(program, ['run', '--state', stateDir], { stdio: 'ignore' });
}

async function start(): Promise<void> {
  const greeted = server.hellos.length;
  child = spawnAgent();
  await until('hello', () => server.hellos.length > greeted);
  await until('online', () => readStatus(stateDir).exitCode === 0);
}

async function end(signal: NodeJS.Signals): Promise<void> {
  const ending = child;
  child = undefined;
  if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
  const ended = new Promise((resolve) => ending.once('exit', resolve));
  ending.kill(signal);
  await ended;
}

/** What was really executed, as the procedure itself has written it down. */
function executions(): { operationId: string; attempt: number }[] {
  try {
    const lines = readFileSync(join(stateDir, 'executions.log'), 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line));
  } catch {
    // Nothing was executed yet.
    return [];
  }
}

const rss = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child?.pid}/status`, 'utf8'))?.[1]) / 1000;
const reportsOf = (operationId: string) => server.reports.filter((each) => each.operationId === operationId);
const facts = () => readStatus(stateDir).status?.operations;

describe('operations on an agent process', () => {
  it('are answered inline, reported, and executed once however often they are sent', async () => {
    await start();
    const operationId = randomUUID();
    const request = { operationId, procedure: 'hv.step', kwargs: { label: 'x' } };
    const answers = await Promise.all([1, 2, 3].map(() => server.run(boardUuid, request)));
    for (const { report, journalEpoch } of answers) {
      expect(report).toMatchObject({ state: 'succeeded', result: { count: 1 }, runs: 1 });
      expect(journalEpoch).toBe(server.hellos.at(-1)?.journalEpoch);
    }
    await until('it is reported', () => reportsOf(operationId).length > 0);
    expect(executions()).toMatchObject([{ operationId, attempt: 1 }]);
    await until('it is acknowledged', () => facts()?.unacknowledged === 0);
    expect((await server.run(boardUuid, request)).report).toMatchObject({ result: { count: 1 } });
    expect(executions()).toHaveLength(1);
  });

  it('say how far they are, and stop when they are cancelled', async () => {
    await start();
    const operationId = randomUUID();
    const { report } = await server.run(boardUuid, {
      ...{ operationId, procedure: 'hv.step', kwargs: { seconds: 600 }, inlineMs: 50 },
    });
    expect(report?.state).toBe('running');
    await until('progress', () => server.progress.some((each) => each.operationId === operationId));
    expect((await server.ask(boardUuid, 'cancel', operationId)).reports[0]?.state).toBe('cancelled');
    await until('the report', () => reportsOf(operationId)[0]?.state === 'cancelled');
  });

  it('are not executed again when the agent is killed in a journaled one', async () => {
    await start();
    const operationId = randomUUID();
    const request = { operationId, procedure: 'hv.step', kwargs: { seconds: 600 }, inlineMs: 0 };
    const { journalEpoch } = await server.run(boardUuid, request);
    await until('it runs', () => executions().length === 1);
    await end('SIGKILL');
    await start();
    await until('the report', () => reportsOf(operationId)[0]?.state === 'interrupted');
    expect((await server.run(boardUuid, { ...request, journalEpoch })).report?.state).toBe('interrupted');
    expect(executions()).toHaveLength(1);
  });

  it('are executed again in the same attempt when the agent is killed in an idempotent one', async () => {
    await start();
    const operationId = randomUUID();
    await server.run(boardUuid, {
      ...{ operationId, procedure: 'hv.wait', kwargs: { seconds: 2 }, inlineMs: 100 },
    });
    expect(executions()).toHaveLength(1);
    await end('SIGKILL');
    await start();
    await until('the report', () => reportsOf(operationId)[0]?.state === 'succeeded');
    expect(reportsOf(operationId)[0]).toMatchObject({ attempt: 1, runs: 2, result: { count: 2 } });
    expect(executions()).toMatchObject([1, 2].map(() => ({ operationId, attempt: 1 })));
  });

  it('are not known when the answer of an idempotent one is lost with the process: it may be sent again', async () => {
    await start();
    const operationId = randomUUID();
    const request = { operationId, procedure: 'echo', kwargs: { message: 'x' } };
    expect((await server.run(boardUuid, request)).report).toMatchObject({ state: 'succeeded', runs: 1 });
    await end('SIGKILL');
    await start();
    expect((await server.ask(boardUuid, 'status', operationId)).missing).toEqual([operationId]);
    const { report } = await server.run(boardUuid, request);
    expect(report).toMatchObject({ state: 'succeeded', result: { message: 'x' } });
  });

  it('are delivered after a restart when the server could not take them before', async () => {
    await start();
    server.beforeResult = () => {
      throw new AppError('unavailable', 'no database');
    };
    const ids = Array.from({ length: 3 }, () => randomUUID());
    for (const operationId of ids)
      await server.run(boardUuid, { operationId, procedure: 'hv.step', inlineMs: 0 });
    await until('all have ended', () => executions().length === 3 && facts()?.unacknowledged === 3);
    await end('SIGKILL');
    server.beforeResult = () => {};
    await start();
    await until('all are reported', () => ids.every((each) => reportsOf(each).length > 0));
    await until('all are acknowledged', () => facts()?.unacknowledged === 0);
    expect(ids.map((each) => reportsOf(each)[0]?.state)).toEqual(Array(3).fill('succeeded'));
    expect(executions()).toHaveLength(3);
  });

  it('are refused in another journal', async () => {
    await start();
    const { refusal } = await server.run(boardUuid, { procedure: 'hv.step', journalEpoch: randomUUID() });
    expect(refusal).toBe('journal-lost');
    expect(executions()).toEqual([]);
  });

  it('bring their files along, over an agent that is killed on the way', async () => {
    await start();
    const immediate = (await server.call(`boardwalk.board.${boardUuid}.support_bundle`)) as JsonObject;
    expect(immediate.bundle).toMatchObject({ agent: { boardUuid }, host: { architecture: process.arch } });
    const operationId = randomUUID();
    server.beforeChunk = () => {
      throw new AppError('unavailable', 'no database');
    };
    const { report } = await server.run(boardUuid, { operationId, procedure: 'support_bundle' });
    expect(report?.state).toBe('running');
    await until('it has ended', () => facts()?.unacknowledged === 1);
    await end('SIGKILL');
    server.beforeChunk = () => {};
    await start();
    const told = await until('the report', () => reportsOf(operationId)[0]);
    const content = server.artifacts.get(`${operationId}/support-bundle.json`);
    expect(told).toMatchObject({
      state: 'succeeded',
      artifacts: [{ name: 'support-bundle.json', size: content?.length }],
      result: { artifact: { name: 'support-bundle.json' } },
    });
    const bundle = String(content);
    expect(JSON.parse(bundle)).toMatchObject({ agent: { boardUuid }, procedures: expect.any(Array) });
    expect(bundle).not.toContain(
      JSON.parse(readFileSync(join(stateDir, 'identity.json'), 'utf8')).privateKey,
    );
  });

  it('come from schedules too, each due time once, without a link and over a kill', async () => {
    const proxy = await startFaultyProxy({ port: router.port });
    try {
      const path = join(stateDir, 'identity.json');
      const identity = JSON.parse(readFileSync(path, 'utf8'));
      writeFileSync(path, JSON.stringify({ ...identity, routerUrls: [proxy.url] }), { mode: 0o600 });
      server.routerUrls = [proxy.url];
      await start();
      const schedule: BoardSchedule = {
        ...{ scheduleId: randomUUID(), version: 1, procedure: 'hv.step', kwargs: {} },
        timing: { kind: 'interval', everySeconds: 1, from: Date.now() },
        ...{ deadlineSeconds: 60, jitterSeconds: 0, overlap: 'queue' },
        catchUp: { mode: 'none', limit: 1 },
        after: Date.now(),
      };
      const uri = `boardwalk.board.${boardUuid}.operation.schedules`;
      expect(await server.call(uri, { schedules: [schedule] })).toEqual({ stored: 1 });
      await until('it runs', () => executions().length > 0);
      await proxy.close();
      const before = executions().length;
      await until('it runs without a link', () => executions().length >= before + 2);
      await end('SIGKILL');
      child = spawnAgent();
      const killed = executions().length;
      await until('it runs after a kill', () => executions().length >= killed + 2);
      await end('SIGTERM');
      writeFileSync(path, JSON.stringify(identity), { mode: 0o600 });
      server.routerUrls = [router.url];
      await start();
      expect(rss()).toBeLessThanOrEqual(80);
      const ids = executions().map((each) => each.operationId);
      await until('all are reported', () => ids.every((each) => reportsOf(each).length > 0));
      expect(new Set(ids).size).toBe(ids.length);
      for (const { operationId, schedule: made } of server.reports)
        expect(operationId).toBe(scheduledOperationId(schedule.scheduleId, made?.dueAt ?? 0));
    } finally {
      server.routerUrls = [router.url];
      await proxy.close();
    }
  });

  it('take effect once each, however often they are sent and the agent is killed', async () => {
    const ids = Array.from({ length: 40 }, () => randomUUID());
    const ends = new Map<string, string>();
    const journals = new Map<string, string>();
    const deliver = async (operationId: string) => {
      const journalEpoch = journals.get(operationId);
      const { report, journalEpoch: of } = await server.run(boardUuid, {
        ...{ operationId, procedure: 'hv.step', kwargs: { seconds: 0.02 }, inlineMs: 100 },
        ...(journalEpoch && { journalEpoch }),
      });
      journals.set(operationId, of);
      if (report && endedReportStates.has(report.state)) ends.set(operationId, report.state);
    };
    for (let round = 0; ends.size < ids.length; round += 1) {
      expect(round).toBeLessThan(20);
      await start();
      const open = ids.filter((each) => !ends.has(each));
      const deliveries = Promise.allSettled(open.flatMap((each) => [deliver(each), deliver(each)]));
      // Each round lives a little longer, so that the last ones end.
      await Promise.race([deliveries, sleep(30 + 60 * round)]);
      await end('SIGKILL');
      await deliveries;
    }
    const counts = new Map<string, number>();
    for (const { operationId } of executions()) counts.set(operationId, (counts.get(operationId) ?? 0) + 1);
    expect(Math.max(...counts.values())).toBe(1);
    for (const [operationId, state] of ends) {
      expect(['succeeded', 'interrupted']).toContain(state);
      if (state === 'succeeded') expect(counts.get(operationId)).toBe(1);
    }
    expect([...ends.values()]).toContain('succeeded');
  });

  it('keep the memory of the agent within its bounds', async () => {
    // The first start in a checkout also strips the types of what it loads.
    await start();
    await end('SIGTERM');
    await start();
    for (let count = 0; count < 20; count += 1)
      await server.run(boardUuid, { procedure: 'hv.step', kwargs: { label: String(count) } });
    expect(executions()).toHaveLength(20);
    expect(rss()).toBeLessThanOrEqual(80);
  });
});
