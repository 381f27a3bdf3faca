/** Keys that are limited to procedures, and operations that somebody else made of others. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
let token: string;
beforeAll(async () => {
  ops = await startOperationsApi();
  token = (await ops.api.rows.key(ops.tenant, { role: 'manager_iot_project', procedures: ['gpio.*'] })).token;
});
afterAll(async () => ops?.stop());

describe('a key that is limited to procedures', () => {
  it.each(['cancel', 'retry', 'resolve', 'pause', 'resume', 'approve'])(
    'does not %s an operation of another procedure',
    async (step) => {
      const board = await ops.board();
      const { id } = (await ops.create({ target: { boards: [board] } })).body;
      await ops.targets(id, { state: 'failed', queue: null, attempt: 1 });
      // The refusal itself is audited.
      const before = { ...(await ops.api.checksums()), audit_events: '' };
      const answer = await ops.post(`/v1/operations/${id}/${step}`, undefined, { token });
      expect(answer.status, answer.text).toBe(403);
      expect(answer.body).toMatchObject({ code: 'forbidden' });
      expect({ ...(await ops.api.checksums()), audit_events: '' }).toEqual(before);
    },
  );

  it('retries one of its own procedures', async () => {
    const board = await ops.board();
    const body = { procedure: 'gpio.write', kwargs: { pin: 1 }, target: { boards: [board] } };
    const { id } = (await ops.create(body)).body;
    await ops.targets(id, { state: 'failed', queue: null, attempt: 1 });
    const answer = await ops.post(`/v1/operations/${id}/retry`, undefined, { token });
    expect(answer.status, answer.text).toBe(200);
    expect(answer.body).toMatchObject({ state: 'active', counts: { queued: 1 } });
  });
});
