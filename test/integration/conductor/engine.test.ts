import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../harness/until.ts';
import { type EngineFixture, openEngineFixture, succeed } from './engine-support.ts';

let fix: EngineFixture;
let tenant: string;

beforeAll(async () => {
  fix = await openEngineFixture();
  tenant = await fix.rows.tenant();
});
afterEach(async () => {
  await fix.stopEngines();
  fix.relay.calls.length = 0;
  fix.relay.play((call) => succeed(call));
});
afterAll(() => fix.close());

const ended = (operation: string, state: string) =>
  until(`it is ${state}`, async () => (await fix.state(operation)) === state);

describe('an operation on one board', () => {
  it('is sent, ends with the answer of the board, and leaves its evidence', async () => {
    const { uuid, session } = await fix.online(tenant, 'one');
    const id = await fix.operation(tenant, [uuid]);
    fix.start();
    await ended(id, 'succeeded');
    expect(await fix.target(id)).toMatchObject({
      state: 'succeeded',
      queue: null,
      attempt: 1,
      deliveries: 1,
      safety: 'idempotent',
      session_id: session,
      result: { done: true },
    });
    expect(await fix.kinds(id)).toEqual(['dispatched', 'succeeded']);
    expect(await fix.queue(uuid)).toMatchObject({ ready: null, has_open: 0, owner: null, until_at: null });
    const [call] = fix.relay.calls;
    expect(call).toMatchObject({
      boardUuid: uuid,
      sessionId: session,
      procedure: 'operation.run',
      caller: { kind: 'process', id: 'conductor' },
      kwargs: { operationId: id, attempt: 1, procedure: 'system.echo', kwargs: { text: 'x' } },
    });
    const [events] = await fix.connection.query(
      "SELECT JSON_VALUE(payload, '$.state') AS state FROM events WHERE type = 'operation' ORDER BY id",
    );
    expect((events as { state: string }[]).map(({ state }) => state)).toEqual([
      'dispatched',
      'succeeded',
      'succeeded',
    ]);
  });
});
