/** The shipped flow as the editor wants it: what is missing there is a red triangle for whoever opens it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { repositoryRoot } from '../../harness/tools.ts';

const path = join(repositoryRoot, 'examples/slow-control/node-red-flows.json');
const nodes = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>[];

it('has in each button what the editor would write', () => {
  const buttons = nodes.filter(({ type }) => type === 'inject');
  expect(buttons.map(({ name }) => name)).toContain('HV 0 on');
  const untimed = { topic: '', repeat: '', crontab: '', once: false, onceDelay: 0.1 };
  for (const button of buttons) expect(button).toMatchObject(untimed);
});

it('has every wire end at a node of the flow', () => {
  const ids = nodes.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const ends = nodes.flatMap(({ wires = [] }) => (wires as string[][]).flat());
  expect(ends.filter((id) => !ids.includes(id))).toEqual([]);
});
