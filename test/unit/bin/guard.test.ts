import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { startGuard } from '../../../bin/stack/guard.ts';
import { until } from '../../harness/until.ts';

const guardScript = new URL('../../../bin/stack/guard.sh', import.meta.url).pathname;

describe('the guard', () => {
  const started: number[] = [];
  const sleeper = (script = 'exec sleep 60') => {
    const child = spawn('/bin/sh', ['-c', script], { detached: true, stdio: 'ignore' });
    started.push(child.pid!);
    return child;
  };
  afterEach(() => {
    for (const pid of started.splice(0)) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // Ended already, which most of these tests want.
      }
    }
  });

  it('ends the listed groups when its stdin ends, however its owner died', async () => {
    const [one, two] = [sleeper(), sleeper('sleep 60 & wait')];
    const guard = spawn('/bin/sh', [guardScript], { stdio: ['pipe', 'ignore', 'ignore'] });
    guard.stdin.write(`${one.pid}\n${one.pid} ${two.pid}\n`);
    guard.stdin.end();
    await Promise.all([once(one, 'exit'), once(two, 'exit'), once(guard, 'exit')]);
    expect([one.signalCode, two.signalCode]).toEqual(['SIGTERM', 'SIGTERM']);
  });

  it('ends nothing when the stack stopped cleanly, and only what the last list names', async () => {
    const one = sleeper();
    const guard = startGuard(process.env);
    guard.watch([one.pid!]);
    guard.watch([]);
    await guard.end();
    expect(one.exitCode).toBeNull();
    expect(one.signalCode).toBeNull();
    one.kill();
    await once(one, 'exit');
  });

  it('is started again when it is killed itself', async () => {
    const seen: number[] = [];
    const guard = startGuard({ ...process.env, GUARD_TEST: 'yes' });
    guard.watch([]);
    const { findMarked } = await import('../../../bin/stack/marked-processes.ts');
    const find = () => findMarked('GUARD_TEST', 'yes')[0]?.pid;
    seen.push(await until('the guard', find));
    process.kill(seen[0]!, 'SIGKILL');
    await until('another guard', () => {
      const pid = find();
      return pid !== undefined && pid !== seen[0];
    });
    await guard.end();
    expect(find()).toBeUndefined();
  });
});
