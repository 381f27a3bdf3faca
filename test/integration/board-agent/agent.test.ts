import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Agent, createAgent } from '../../../board-agent/agent.ts';
import { systemClock } from '../../../board-agent/clock.ts';
import { diagnose, type Finding } from '../../../board-agent/commands/diagnose.ts';
import { enrol } from '../../../board-agent/commands/enrol.ts';
import { formatStatus, readStatus } from '../../../board-agent/commands/status.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { findIdentity } from '../../../board-agent/state/identity.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { startCrossbar, type TestCrossbar } from '../../harness/crossbar.ts';
import { type FaultyProxy, startFaultyProxy } from '../../harness/faulty-proxy.ts';
import { until } from '../../harness/until.ts';
import { type StandIn, silent, startStandIn } from './stand-in.ts';

const simulated = parseSettings({
  spool: { commitIntervalMs: 20 },
  sources: [
    {
      kind: 'simulated',
      module: 'hv',
      streams: [
        { name: 'count', waveform: 'counter', rateHz: 50 },
        { name: 'valve', waveform: 'square', type: 'boolean', rateHz: 5, periodMs: 1000 },
        { name: 'mode', waveform: 'cycle', type: 'text', values: ['idle', 'run'], rateHz: 5, periodMs: 400 },
      ],
    },
  ],
});

let router: TestCrossbar;
let server: StandIn;
let stateDir: string;
let agents: Agent[] = [];
let proxies: FaultyProxy[] = [];

beforeAll(async () => {
  router = await startCrossbar();
  server = await startStandIn(router);
});

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'boardwalk-board-'));
});

afterEach(async () => {
  await Promise.all(agents.map((each) => each.stop()));
  await Promise.all(proxies.map((each) => each.close()));
  agents = [];
  proxies = [];
  server.beforeAppend = () => {};
  server.readings.length = 0;
  server.gaps.length = 0;
  rmSync(stateDir, { recursive: true });
});

afterAll(async () => {
  server?.stop();
  await router?.stop();
});

function offerCode(boardUuid: string = randomUUID()) {
  const code = randomUUID();
  server.codes.set(code, { boardUuid });
  return { code, boardUuid };
}

const enrolWith = (code: string, urls = [router.url]) =>
  enrol({ stateDir, urls, code, realm: router.realm, say: () => {}, patienceMs: 0 });

async function startAgent(settings = simulated, clock = systemClock): Promise<Agent> {
  const identity = findIdentity(stateDir);
  if (!identity) throw new Error('not enrolled');
  const agent = createAgent({ stateDir, identity, settings, logger: silent, clock });
  agents.push(agent);
  await agent.start();
  return agent;
}

const online = (agent: Agent) => until('online', () => agent.session.state().phase === 'online');
const countsOf = (epoch?: string) =>
  server.readings
    .filter((each) => each.stream === 'hv/count' && (epoch === undefined || each.epoch === epoch))
    .map((each) => each.value as number);

describe('enrolment', () => {
  it('makes a key on the board and stores the identity for its owner only', async () => {
    const { code, boardUuid } = offerCode();
    const identity = await enrolWith(code);
    expect(identity.boardUuid).toBe(boardUuid);
    expect(server.publicKeys.get(boardUuid)).toBe(identity.publicKey);
    expect(findIdentity(stateDir)).toEqual(identity);
    expect(statSync(join(stateDir, 'identity.json')).mode & 0o777).toBe(0o600);
  });

  it.each([
    ['enrolment-code-invalid', 'does not know'],
    ['enrolment-code-used', 'used already'],
    ['enrolment-code-expired', 'has expired'],
  ] as const)('says in a sentence when the code is refused: %s', async (refuse, sentence) => {
    const { code } = offerCode();
    const entry = server.codes.get(code);
    if (entry) entry.refuse = refuse;
    await expect(enrolWith(code)).rejects.toMatchObject({
      code: refuse,
      message: expect.stringContaining(sentence),
    });
    expect(findIdentity(stateDir)).toBeUndefined();
  });

  it('is finished by a second try with the same code when the answer was lost', async () => {
    const proxy = await startFaultyProxy({ port: router.port });
    proxies.push(proxy);
    const { code, boardUuid } = offerCode();
    const entry = server.codes.get(code);
    // The server accepts, and the link is cut before the answer arrives.
    Object.defineProperty(entry, 'usedBy', {
      configurable: true,
      get: () => undefined,
      set: () => proxy.cut(),
    });
    await expect(enrolWith(code, [proxy.url])).rejects.toMatchObject({ code: 'unavailable' });
    const accepted = server.publicKeys.get(boardUuid);
    expect(accepted).toBeDefined();
    Object.defineProperty(entry, 'usedBy', { value: accepted, writable: true });
    expect((await enrolWith(code)).publicKey).toBe(accepted);
  });

  it('keeps the old identity until the new one is there', async () => {
    const { code, boardUuid } = offerCode();
    const first = await enrolWith(code);
    await expect(enrolWith('no-such-code')).rejects.toBeInstanceOf(AppError);
    expect(findIdentity(stateDir)).toEqual(first);
    const second = await enrolWith(offerCode(boardUuid).code);
    expect(second.boardUuid).toBe(boardUuid);
    expect(second.publicKey).not.toBe(first.publicKey);
  });
});

describe('a running agent', () => {
  beforeEach(async () => {
    await enrolWith(offerCode().code);
  });

  const call = (agent: Agent, procedure: string, kwargs = {}, args: unknown[] = []) =>
    server.call(`boardwalk.board.${agent.status().boardUuid}.${procedure}`, kwargs, {}, args);

  it('announces its modules and contracts, and streams readings of every type once and in order', async () => {
    const agent = await startAgent();
    await online(agent);
    const hello = server.hellos.at(-1);
    expect(hello?.modules.map((each) => each.name)).toEqual(['hv']);
    expect(hello?.procedures.map((each) => each.name)).toEqual(
      expect.arrayContaining(['ping', 'echo', 'info', 'procedures', 'hv.set', 'hv.reset']),
    );
    await until('readings', () => countsOf().length > 50);
    const counts = countsOf();
    expect(counts).toEqual(counts.map((_, index) => index));
    expect(new Set(server.readings.map((each) => typeof each.value))).toEqual(
      new Set(['number', 'boolean', 'string']),
    );
    expect(server.gaps).toEqual([]);
  });

  it('answers ping, echo, info and procedures', async () => {
    const agent = await startAgent();
    await online(agent);
    expect(await call(agent, 'ping')).toMatchObject({ uptimeSeconds: expect.any(Number) });
    expect(await call(agent, 'echo', { message: ['ü', 1, null] })).toEqual({ message: ['ü', 1, null] });
    expect(await call(agent, 'info')).toMatchObject({
      architecture: process.arch,
      memory: { totalBytes: expect.any(Number) },
    });
    expect(await call(agent, 'procedures')).toMatchObject({ procedures: expect.any(Array) });
  });

  it('refuses what does not fit a contract, and names the place', async () => {
    const agent = await startAgent();
    await online(agent);
    await expect(call(agent, 'ping', { loud: true })).rejects.toMatchObject({
      error: 'wamp.error.invalid_argument',
      kwargs: { errors: [{ pointer: '/loud', message: 'is not a known field' }] },
    });
    await expect(call(agent, 'ping', {}, [1])).rejects.toMatchObject({
      error: 'wamp.error.invalid_argument',
    });
    await expect(call(agent, 'nothing')).rejects.toMatchObject({ error: 'wamp.error.no_such_procedure' });
    await expect(call(agent, 'operation.nothing')).rejects.toMatchObject({
      error: 'wamp.error.no_such_procedure',
    });
  });

  it('lets a procedure of a module hold a stream', async () => {
    const agent = await startAgent();
    await online(agent);
    await call(agent, 'hv.set', { stream: 'mode', value: 'service' });
    await until('the held value', () => server.readings.some((each) => each.value === 'service'));
    await expect(call(agent, 'hv.set', { stream: 'mode', value: 1 })).rejects.toMatchObject({
      error: 'wamp.error.invalid_argument',
    });
    expect(await call(agent, 'hv.reset')).toEqual({ reset: 1 });
  });

  it('applies settings that the server pushes at once', async () => {
    server.settings = { ...server.settings, batchIntervalMs: 60_000 };
    const agent = await startAgent();
    await online(agent);
    await until('a first batch', () => agent.status().lastAckAt);
    server.settings = { ...server.settings, batchIntervalMs: 50 };
    const before = countsOf().length;
    expect(await call(agent, 'operation.settings', { batchIntervalMs: 50 })).toMatchObject({
      batchIntervalMs: 50,
    });
    await until('more readings', () => countsOf().length > before + 20, { timeoutMs: 3000 });
  });

  it('loses nothing and stores nothing twice over cut links, a server that fails and a restart', async () => {
    const proxy = await startFaultyProxy({ port: router.port });
    proxies.push(proxy);
    const path = join(stateDir, 'identity.json');
    const identity = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...identity, routerUrls: [proxy.url] }), { mode: 0o600 });
    const agent = await startAgent();
    await until('readings', () => countsOf().length > 20);
    proxy.cut();
    await until('more', () => countsOf().length > 60);
    server.beforeAppend = () => {
      throw new AppError('unavailable', 'no database');
    };
    proxy.cut();
    await until('a backlog', () => agent.status().spool.waiting > 50);
    server.beforeAppend = () => {};
    await until('drained', () => agent.status().spool.waiting < 20);
    await agent.stop();
    agents = [];

    const again = await startAgent();
    await online(again);
    await until('the rest', () => again.status().spool.waiting < 20 && again.status().lastAckAt);
    const seqs = server.readings.map((each) => each.seq);
    expect(seqs).toEqual(seqs.map((_, index) => index + 1));
    expect(server.gaps).toEqual([]);
    expect(new Set(server.readings.map((each) => each.epoch)).size).toBe(1);
  });

  it('dates readings right while the clock of its host is a day off, in both directions', async () => {
    let aheadMs = 0;
    const settings = parseSettings({ sources: [{ kind: 'system', intervalMs: 250 }] });
    const agent = await startAgent(settings, { ...systemClock, now: () => Date.now() + aheadMs });
    await online(agent);
    const seqs = () => server.readings.map((each) => each.seq);
    for (const days of [0, 1, -1, 0]) {
      aheadMs = days * 86_400_000;
      const before = server.readings.length;
      await until('readings', () => server.readings.length > before + 10);
      const apart = server.readings.slice(before).map((each) => Math.abs(each.at - Date.now()));
      expect(Math.max(...apart)).toBeLessThan(10_000);
    }
    expect(seqs()).toEqual(seqs().map((_, index) => index + 1));
  });

  it('says hello with the new epoch before it sends from a spool that was replaced', async () => {
    writeFileSync(join(stateDir, 'spool.db'), 'not a database, but long enough to look at'.repeat(100));
    const agent = await startAgent();
    await until('readings', () => countsOf().length > 10);
    expect(server.hellos.at(-1)?.spoolEpoch).toBe(agent.spool.epoch());
    expect(agent.status().spool.setAside).toContain('damaged');
  });

  it('tells its state to `status` and stands up to `diagnose`', async () => {
    const agent = await startAgent();
    await online(agent);
    await until('the file says so', () => readStatus(stateDir).exitCode === 0);
    expect(formatStatus(readStatus(stateDir), Date.now())).toContain('online');
    const findings: Finding[] = [];
    const good = await diagnose(stateDir, (finding) => findings.push(finding));
    expect(findings.filter((each) => !each.ok)).toEqual([]);
    expect(good).toBe(true);
    expect(findings.map((each) => each.name)).toEqual(
      expect.arrayContaining(['join', 'clock', 'disk space']),
    );
    expect(agent.session.state().phase).toBe('online');
  });

  it('gets in with a new key when it was enrolled again while it ran', async () => {
    const agent = await startAgent();
    await online(agent);
    const { boardUuid } = agent.status();
    const first = agent.session.state().sessionId;
    await enrolWith(offerCode(boardUuid).code);
    await server.killBoard(boardUuid);
    await until('another session', () => {
      const state = agent.session.state();
      return state.phase === 'online' && state.sessionId !== first;
    });
  });
});
