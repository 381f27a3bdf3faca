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

describe('a key that is limited to boards', () => {
  it('learns that another operation is in front of its own, and not which', async () => {
    const board = await ops.board();
    const first = (await ops.create({ target: { boards: [board] } })).body.id;
    const own = await ops.api.rows.key(ops.tenant, { role: 'manager_iot_project', boards: [board] });
    const body = { procedure: 'reboot', delivery: 'when-online', target: { boards: [board] } };
    const { id } = (await ops.post('/v1/operations', body, { token: own.token })).body;
    const path = `/v1/operations/${id}/timeline`;
    const answer = await ops.api.request(path, { token: own.token });
    expect(answer.body.waiting).toMatchObject([{ board, reason: 'order' }]);
    expect(answer.text).not.toContain(first);
    expect((await ops.get(path)).text).toContain(first);
  });
});
