/** Pages end where they would become too large to be held in memory, and go on from there. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
beforeAll(async () => {
  ops = await startOperationsApi();
});
afterAll(async () => ops?.stop());

const large = JSON.stringify({ text: 'x'.repeat(60_000) });
const many = 100;

async function pagesOf(path: string): Promise<number[]> {
  const sizes: number[] = [];
  let next: string | undefined = '';
  while (next !== undefined) {
    const after = next === '' ? '' : `&after=${encodeURIComponent(next)}`;
    const { status, body, text } = await ops.get(`${path}?limit=1000${after}`);
    expect(status, text).toBe(200);
    expect(text.length).toBeLessThan(6_000_000);
    sizes.push(body.items.length);
    next = body.next;
  }
  return sizes;
}
const sum = (sizes: readonly number[]) => sizes.reduce((total, each) => total + each, 0);

describe('a page', () => {
  it('of operations ends before their arguments are too many', async () => {
    const now = new Date();
    const rows = Array.from({ length: many }, () => [
      randomUUID(),
      ops.tenant,
      'reboot',
      large,
      '{}',
      'now',
      'active',
      now,
      'test',
      now,
      now,
    ]);
    await ops.rows(
      `INSERT INTO operations (id, tenant_id, procedure_name, kwargs, target, delivery, state, deadline_at,
         created_by, created_at, updated_at) VALUES ?`,
      [rows.slice(0, 50)],
    );
    await ops.rows(
      `INSERT INTO operations (id, tenant_id, procedure_name, kwargs, target, delivery, state, deadline_at,
         created_by, created_at, updated_at) VALUES ?`,
      [rows.slice(50)],
    );
    const sizes = await pagesOf('/v1/operations');
    expect(sizes.length).toBeGreaterThan(1);
    expect(sum(sizes)).toBe(many);
  });

  it('of a timeline ends before what boards said is too much', async () => {
    const board = await ops.board();
    const { id } = (await ops.create({ target: { boards: [board] } })).body;
    for (let part = 0; part < 2; part += 1)
      await ops.rows('INSERT INTO operation_events (operation_id, board_uuid, kind, evidence, at) VALUES ?', [
        Array.from({ length: many / 2 }, () => [id, board, 'progress', large, new Date()]),
      ]);
    const sizes = await pagesOf(`/v1/operations/${id}/timeline`);
    expect(sizes.length).toBeGreaterThan(1);
    expect(sum(sizes)).toBe(many + 1);
  });
});
