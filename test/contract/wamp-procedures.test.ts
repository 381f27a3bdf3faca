/** Both ends of every procedure read the same map: what one side sends, the other side's parser takes. */
import { describe, expect, it } from 'vitest';
import {
  parseEnrolAnswer,
  parseHeartbeatAnswer,
  parseHelloAnswer,
} from '../../common/wamp/agent-procedures.ts';
import { parseArtifactAnswer } from '../../common/wamp/artifacts.ts';
import { parseModulesAnswer } from '../../common/wamp/modules.ts';
import { parseResultAnswer } from '../../common/wamp/operations.ts';
import { parseReadingsAck } from '../../common/wamp/readings.ts';
import {
  type AgentHandlers,
  type InvocationHandler,
  registerAll,
  type WampSession,
} from '../../common/wamp/typed-session.ts';
import { agentUris } from '../../common/wamp/uris.ts';

const settings = { batchIntervalMs: 5000, heartbeatIntervalMs: 10_000, reconnectSpreadMs: 1000 };
const uuid = '11111111-1111-4111-8111-111111111111';
const boardCaller = { wampSession: 1, authid: uuid, role: 'board' };
const enroleeCaller = { wampSession: 2, authid: 'enrolee:x', role: 'enrolee' };

const handlers: AgentHandlers = {
  enrol: async () => ({
    boardUuid: uuid,
    boardName: 'b',
    tenantId: uuid,
    realm: 's4t',
    routerUrls: ['ws://r'],
    settings,
  }),
  hello: async () => ({ serverTime: 1, routerUrls: ['ws://r'], settings, ackedSeq: 0 }),
  heartbeat: async () => ({ serverTime: 1, helloNeeded: false }),
  appendReadings: async () => ({ ackedSeq: 3, batchIntervalMs: 1000 }),
  operationResult: async () => ({ acknowledged: [uuid] }),
  operationProgress: async () => ({ taken: true }),
  putArtifact: async () => ({ received: 3, complete: true }),
  reportModules: async () => ({
    unknownDevices: 'quarantine',
    createPerMinute: 60,
    version: uuid,
    decisions: [{ name: 'n1', state: 'accepted' }],
  }),
};

const good = {
  enrol: { code: 'abcd', publicKey: 'a'.repeat(64), facts: { agentVersion: '1' } },
  hello: {
    agentVersion: '1',
    bootId: 'b',
    connectivity: { kind: 'wifi' },
    procedures: [],
    modules: [],
    spoolEpoch: uuid,
  },
  heartbeat: { sentAt: 1 },
  appendReadings: { epoch: uuid, from: 1, streams: [], readings: [] },
  operationResult: {
    journalEpoch: uuid,
    reports: [{ operationId: uuid, attempt: 1, state: 'succeeded', result: { a: 1 }, runs: 1 }],
  },
  operationProgress: { operationId: uuid, attempt: 1, progress: { percent: 50 } },
  putArtifact: {
    operationId: uuid,
    attempt: 1,
    artifact: { name: 'a.json', mediaType: 'application/json', size: 3, sha256: 'a'.repeat(64) },
    offset: 0,
    data: 'YWJj',
  },
  reportModules: {
    modules: [
      {
        name: 'n1',
        source: 'coap',
        state: 'accepted',
        firstSeenAt: 1,
        lastSeenAt: 2,
        lastSeq: null,
        received: 1,
        duplicate: 0,
        missed: 0,
        late: 0,
        restarted: 0,
        badMac: 0,
        refused: 0,
      },
    ],
    sources: [{ name: 'coap', kind: 'coap', received: 3, stored: 1, duplicate: 1, rejected: 0, waiting: 1 }],
    version: uuid,
  },
} as const;

const answers = {
  enrol: parseEnrolAnswer,
  hello: parseHelloAnswer,
  heartbeat: parseHeartbeatAnswer,
  appendReadings: parseReadingsAck,
  operationResult: parseResultAnswer,
  operationProgress: (value: unknown) => value,
  putArtifact: parseArtifactAnswer,
  reportModules: parseModulesAnswer,
} as const;

const names = Object.keys(good) as (keyof typeof good)[];

async function register() {
  const registered = new Map<string, InvocationHandler>();
  const refused: string[] = [];
  const session = {
    register: async (uri: string, handler: InvocationHandler) => void registered.set(uri, handler),
  } as unknown as WampSession;
  await registerAll(session, handlers, {
    onRefused: (name, _caller, error) => refused.push(`${name} ${error.code}`),
  });
  const call = (name: keyof typeof good, kwargs: object, caller = callerOf(name), args: unknown[] = []) =>
    registered.get(agentUris[name])?.({ args, kwargs: { ...kwargs }, caller });
  return { call, refused, registered };
}

const callerOf = (name: keyof typeof good) => (name === 'enrol' ? enroleeCaller : boardCaller);

describe('the procedures of the agent', () => {
  it.each(names)(
    '%s takes what the map says, and its answer is one that the board can read',
    async (name) => {
      const { call, registered } = await register();
      expect([...registered.keys()]).toHaveLength(names.length);
      const answer = await call(name, good[name]);
      expect(answers[name](answer)).toEqual(answer);
    },
  );

  it.each(names)('%s refuses a missing field, an unknown one, and positional arguments', async (name) => {
    const { call, refused } = await register();
    const [field = ''] = Object.keys(good[name]);
    const { [field as never]: _left, ...missing } = good[name] as Record<string, unknown>;
    for (const [kwargs, args] of [
      [missing, []],
      [{ ...good[name], surprise: 1 }, []],
      [good[name], [1]],
    ] as const)
      await expect(call(name, kwargs, undefined, [...args])).rejects.toMatchObject({
        code: 'invalid-arguments',
        details: { field: expect.any(String) },
      });
    expect(refused).toEqual(Array.from({ length: 3 }, () => `${name} invalid-arguments`));
  });

  it.each(names)('%s refuses callers of another role', async (name) => {
    const { call } = await register();
    const other = name === 'enrol' ? boardCaller : enroleeCaller;
    await expect(call(name, good[name], other)).rejects.toMatchObject({ code: 'not-authorized' });
    await expect(call(name, good[name], { ...other, role: 'service' })).rejects.toMatchObject({
      code: 'not-authorized',
    });
  });
});
