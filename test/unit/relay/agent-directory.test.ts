import { describe, expect, it } from 'vitest';
import type { LiveAgent } from '../../../common/db/queries/wamp-agents.ts';
import { createAgentDirectory } from '../../../common/relay/agent-directory.ts';

const agent = (id: string, cell = 'one'): LiveAgent => ({ id, cell, relayUrl: `http://${id}` });

describe('the directory of agents', () => {
  function directory(agents: LiveAgent[]) {
    const clock = { nowMs: 0, reads: 0 };
    const made = createAgentDirectory({
      findAgents: async () => {
        clock.reads += 1;
        return agents;
      },
      now: () => clock.nowMs,
    });
    return { ...made, clock };
  }

  it('reads at most once a second, however many ask', async () => {
    const { agentsOf, clock } = directory([agent('a')]);
    await Promise.all([agentsOf('one'), agentsOf('one'), agentsOf('two')]);
    clock.nowMs = 1000;
    await agentsOf('one');
    expect(clock.reads).toBe(1);
    clock.nowMs = 1001;
    await agentsOf('one');
    expect(clock.reads).toBe(2);
  });

  it('gives only agents of the asked cell, each of them first in turn', async () => {
    const { agentsOf } = directory([agent('a'), agent('b'), agent('c', 'two')]);
    const firsts = [await agentsOf('one'), await agentsOf('one')].map(([first]) => first?.id);
    expect(firsts.toSorted()).toEqual(['a', 'b']);
    expect(await agentsOf('two')).toEqual([agent('c', 'two')]);
    expect(await agentsOf('three')).toEqual([]);
  });

  it('takes turns in each cell, whatever is asked of the others in between', async () => {
    const { agentsOf } = directory([agent('a'), agent('b'), agent('c', 'two'), agent('d', 'two')]);
    const firsts = new Set<string>();
    for (let count = 0; count < 2; count += 1) {
      for (const cell of ['one', 'two']) firsts.add((await agentsOf(cell))[0]?.id ?? '');
    }
    expect([...firsts].toSorted()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('puts an agent that refused at the end until it has rested, and reads anew', async () => {
    const { agentsOf, reportRefusal, clock } = directory([agent('a'), agent('b')]);
    await agentsOf('one');
    reportRefusal('a');
    for (let count = 0; count < 3; count += 1) expect((await agentsOf('one'))[0]?.id).toBe('b');
    expect(clock.reads).toBe(2);
    clock.nowMs = 2001;
    const firsts = [await agentsOf('one'), await agentsOf('one')].map(([first]) => first?.id);
    expect(firsts.toSorted()).toEqual(['a', 'b']);
  });

  it('keeps the fault of a read to those who asked then', async () => {
    let fail = true;
    const { all } = createAgentDirectory({
      findAgents: async () => {
        if (fail) throw new Error('database away');
        return [agent('a')];
      },
    });
    await expect(all()).rejects.toThrow('database away');
    fail = false;
    await expect(all()).resolves.toHaveLength(1);
  });
});
