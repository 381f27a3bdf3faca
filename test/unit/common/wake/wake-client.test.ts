import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import type { LiveConductor } from '../../../../common/db/queries/conductors.ts';
import { createLogger } from '../../../../common/runtime/logger.ts';
import { parseWakeRequest, type WakeRequest } from '../../../../common/wake/messages.ts';
import { createWakeClient, type WakeClient } from '../../../../common/wake/wake-client.ts';
import { until } from '../../../harness/until.ts';
import { answerJson, startFakeRelay } from '../../relay/fake-relay.ts';

const key = 'a-key-of-the-relay';
const cleanUps: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  await Promise.all(cleanUps.splice(0).map((each) => each()));
});

interface FakeConductor extends LiveConductor {
  received: WakeRequest[];
  stop(): Promise<void>;
}

/** A conductor's port, as far as wakes go. */
async function startConductor(
  answer: (response: ServerResponse, request: WakeRequest) => void = (response) =>
    answerJson(response, 202, {}),
): Promise<FakeConductor> {
  const received: WakeRequest[] = [];
  const server = await startFakeRelay(randomUUID(), (request, response, body) => {
    if (request.url !== '/wake' || request.headers.authorization !== `Bearer ${key}`)
      return answerJson(response, 401, {});
    const wake = parseWakeRequest(body);
    received.push(wake);
    answer(response, wake);
  });
  cleanUps.push(server.stop);
  return { id: server.agent.id, url: server.agent.relayUrl, received, stop: server.stop };
}

function clientOf(conductors: LiveConductor[] | (() => Promise<LiveConductor[]>)): WakeClient {
  const findConductors = typeof conductors === 'function' ? conductors : async () => conductors;
  const client = createWakeClient({ findConductors, key, logger: createLogger('test', 'silent') });
  cleanUps.push(client.close);
  return client;
}

describe('a wake', () => {
  it('gathers what is said within a moment into one request', async () => {
    const conductor = await startConductor();
    const client = clientOf([conductor]);
    const [first = '', second = '', third = ''] = Array.from({ length: 3 }, () => randomUUID());
    client.wake({ boards: [first] });
    client.wake({ boards: [second, first] });
    client.wake({ operations: [third] });
    await until('the wake arrives', () => conductor.received.length > 0);
    expect(conductor.received).toEqual([{ boards: [first, second], operations: [third] }]);
  });

  it('goes to one conductor, the next time to another', async () => {
    const conductors = [await startConductor(), await startConductor()];
    const client = clientOf(conductors);
    for (let count = 1; count <= 4; count += 1) {
      client.wake({ boards: [randomUUID()] });
      await until('the wake arrives', () => conductors.flatMap((each) => each.received).length === count);
    }
    expect(conductors.map((each) => each.received.length)).toEqual([2, 2]);
  });

  it('goes to the next conductor when one is gone or refuses', async () => {
    const gone = await startConductor();
    await gone.stop();
    const stopping = await startConductor((response) => answerJson(response, 503, {}));
    const alive = await startConductor();
    const client = clientOf([gone, stopping, alive]);
    client.wake({ boards: [randomUUID()] });
    await until('the wake arrives', () => alive.received.length === 1);
  });

  it('for everybody reaches all, whoever of them is gone', async () => {
    const gone = await startConductor();
    await gone.stop();
    const conductors = [await startConductor(), await startConductor()];
    const client = clientOf([gone, ...conductors]);
    const operations = [randomUUID()];
    client.wake({ operations }, { everybody: true });
    await until('the wakes arrive', () => conductors.every((each) => each.received.length === 1));
    expect(conductors.map(({ received }) => received[0]?.operations)).toEqual([operations, operations]);
  });

  it('is forgotten when no conductor lives and when the database is away', async () => {
    clientOf([]).wake({ boards: [randomUUID()] });
    let asked = 0;
    const client = clientOf(async () => {
      asked += 1;
      throw new Error('database away');
    });
    client.wake({ boards: [randomUUID()] });
    await until('the database was asked', () => asked === 1);
    client.wake({ boards: [randomUUID()] });
    await until('it was asked again', () => asked === 2);
  });

  it('never names more than a conductor takes', async () => {
    const conductor = await startConductor();
    const client = clientOf([conductor]);
    client.wake({ boards: Array.from({ length: 1500 }, () => randomUUID()) });
    await until('the wake arrives', () => conductor.received.length === 1);
    expect(conductor.received[0]?.boards).toHaveLength(1000);
  });
});

describe('waiting for an end', () => {
  it('takes as long as the conductor holds the answer', async () => {
    let release = () => {};
    const conductor = await startConductor((response) => {
      release = () => answerJson(response, 200, { ended: true });
    });
    const client = clientOf([conductor]);
    const operation = randomUUID();
    const waiting = client.waitForEnd({ id: operation }, 5000);
    await until('the question arrives', () => conductor.received.length === 1);
    expect(conductor.received[0]).toMatchObject({ operations: [operation] });
    expect(conductor.received[0]?.waitMs).toBeGreaterThan(4000);
    release();
    expect(await waiting).toBe(true);
  });

  it('is false when the time is over', async () => {
    const conductor = await startConductor((response, { waitMs = 0 }) => {
      setTimeout(() => answerJson(response, 200, { ended: false }), waitMs);
    });
    expect(await clientOf([conductor]).waitForEnd({ id: randomUUID() }, 50)).toBe(false);
  });

  it('goes on at another conductor when the first dies with the answer', async () => {
    const dying = await startConductor((response) => response.destroy());
    const alive = await startConductor((response) => answerJson(response, 200, { ended: true }));
    expect(await clientOf([dying, alive]).waitForEnd({ id: randomUUID() }, 3000)).toBe(true);
  });

  it('goes on when a conductor comes back', async () => {
    let conductors: LiveConductor[] = [];
    const client = clientOf(async () => conductors);
    const waiting = client.waitForEnd({ id: randomUUID() }, 4000);
    conductors = [await startConductor((response) => answerJson(response, 200, { ended: true }))];
    expect(await waiting).toBe(true);
  });

  it('ends when its caller went away', async () => {
    const conductor = await startConductor(() => undefined);
    const gone = new AbortController();
    const waiting = clientOf([conductor]).waitForEnd({ id: randomUUID() }, 60_000, gone.signal);
    await until('the question arrives', () => conductor.received.length === 1);
    gone.abort();
    expect(await waiting).toBe(false);
  });
});
