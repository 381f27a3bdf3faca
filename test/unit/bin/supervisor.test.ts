import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSupervisor, type Part, type Supervisor } from '../../../bin/stack/supervisor.ts';
import { until } from '../../harness/until.ts';

describe('the supervisor', () => {
  let dir: string;
  let supervisor: Supervisor;
  const said: string[] = [];

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'boardwalk-supervisor-'));
    said.length = 0;
    supervisor = createSupervisor({ logDir: dir, stopGraceMs: 300, say: (line) => said.push(line) });
  });
  afterEach(async () => {
    await supervisor.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const shell = (name: string, script: string, ready: Part['ready'] = async () => undefined): Part => ({
    name,
    command: '/bin/sh',
    args: ['-c', script],
    ready,
  });
  const pidOf = (name: string) => supervisor.processes().find((each) => each.name === name)?.pid;

  it('resolves a start only when the part is ready, and logs its output', async () => {
    const log = join(dir, 'one.log');
    await supervisor.start(
      shell('one', 'echo hello; exec sleep 60', async () => {
        if (!(await readFile(log, 'utf8')).includes('hello')) throw new Error('silent');
      }),
    );
    expect(await readFile(log, 'utf8')).toBe('hello\n');
  });

  it('starts a killed part again, and again', async () => {
    await supervisor.start(shell('one', 'exec sleep 60'));
    for (let round = 0; round < 2; round += 1) {
      const pid = pidOf('one')!;
      process.kill(pid, 'SIGKILL');
      await until('a new process', () => {
        const next = pidOf('one');
        return next !== undefined && next !== pid;
      });
    }
    expect(said).toHaveLength(2);
    expect(said[0]).toMatch(/^one ended \(SIGKILL\)/);
  });

  it('ends what a killed part had spawned before it starts the part again', async () => {
    const children = join(dir, 'children');
    await supervisor.start(shell('one', `sleep 60 & echo $! >> ${children}; wait`));
    const first = await until('the child', async () => Number((await readFile(children, 'utf8')).trim()));
    process.kill(pidOf('one')!, 'SIGKILL');
    await until('the child is gone', () => !isAlive(first));
    await until('a new process', () => pidOf('one'));
  });

  it('gives up a part that keeps dying before it is ready, with the end of its log', async () => {
    const never = async () => Promise.reject(new Error('not yet'));
    await expect(supervisor.start(shell('bad', 'echo no such luck >&2; exit 3', never))).rejects.toThrow(
      /bad died 5 times \(last: exit code 3\).*no such luck/s,
    );
    expect(supervisor.processes()).toEqual([]);
  });

  it('gives up at once when the configuration is refused', async () => {
    const never = async () => Promise.reject(new Error('not yet'));
    const startedAt = performance.now();
    await expect(supervisor.start(shell('bad', 'exit 78', never))).rejects.toThrow(
      /refused its configuration/,
    );
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it('says so when the program does not exist', async () => {
    const never = async () => Promise.reject(new Error('not yet'));
    const part = { name: 'none', command: '/does/not/exist', args: [], ready: never };
    await expect(supervisor.start(part)).rejects.toThrow(/ENOENT/);
  });

  it('stops in reverse order, and kills what does not stop in time', async () => {
    const order = join(dir, 'order');
    const recorder = (name: string) =>
      shell(name, `trap 'echo ${name} >> ${order}; exit' TERM; while :; do sleep 0.02; done`);
    await supervisor.start(recorder('first'));
    await supervisor.start(shell('stubborn', "trap '' TERM; while :; do sleep 0.02; done"));
    await supervisor.start(recorder('last'));
    const pids = supervisor.processes().map(({ pid }) => pid);
    // A shell needs a moment until its trap is set.
    await until('the traps', async () => (await Promise.all(pids.map(catchesTerm))).every(Boolean));
    await supervisor.stop();
    expect(await readFile(order, 'utf8')).toBe('last\nfirst\n');
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('ends a start that is under way when it is stopped', async () => {
    const never = async () => Promise.reject(new Error('not yet'));
    const starting = expect(supervisor.start(shell('slow', 'exec sleep 60', never))).rejects.toThrow(
      /was stopped/,
    );
    await until('the process', () => pidOf('slow'));
    await supervisor.stop();
    await starting;
    await expect(supervisor.start(shell('late', 'exec sleep 60'))).rejects.toThrow(/was stopped/);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process: the answer.
    return false;
  }
}

/** proc_pid_status(5): caught or ignored signals as bit masks; SIGTERM is 15. */
async function catchesTerm(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const masks = [...status.matchAll(/^Sig(?:Ign|Cgt):\s*(\w+)/gm)].map(([, mask]) => BigInt(`0x${mask}`));
  return masks.some((mask) => (mask & (1n << 14n)) !== 0n);
}
