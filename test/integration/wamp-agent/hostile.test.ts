/** Strangers and boards that mean harm: what they send may end their own session, and nothing else. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../../board-agent/session/cryptosign.ts';
import { agentUris, boardProcedureUri } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import {
  type Fixture,
  greet,
  helloOf,
  joinBoard,
  joinService,
  relay,
  rpcBody,
  type SeededBoard,
  seedBoard,
  seedCode,
  seedKey,
  seedTenant,
  startFixture,
} from './fixture.ts';
import { answerOf, join } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;
let board: SeededBoard;

beforeAll(async () => {
  fixture = await startFixture();
  tenantId = await seedTenant(fixture);
  board = await seedBoard(fixture, tenantId);
});
afterAll(() => fixture?.stop());

/** The agent never lost its router, and still serves. */
async function expectUnharmed(): Promise<void> {
  const [agent] = fixture.agents;
  expect(agent?.log()).not.toContain('the router session ended');
  const response = await fetch(`${agent?.relayUrl}/readyz`);
  expect(await response.json()).toMatchObject({ status: 'ready' });
}

/** Texts that are or look like JSON, and what no reader of JSON is prepared for. */
const oddities: [what: string, text: string][] = [
  ['a number beyond doubles', '1e400'],
  ['NaN', 'NaN'],
  ['a minus infinity beside its name in a text', '[-Infinity, "a \\"NaN\\" \\\\"]'],
  ['a whole number of 4,000 digits', '9'.repeat(4000)],
  ['a whole number of 5,000 digits', '9'.repeat(5000)],
  ['a lone surrogate', '"\\ud800"'],
  ['a text that begins with NUL', '"\\u0000!"'],
  ['nesting of 900', '['.repeat(900) + ']'.repeat(900)],
  ['nesting of 100,000', '['.repeat(100_000) + ']'.repeat(100_000)],
];

describe('a stranger', () => {
  /** Says HELLO with an oddity in it; resolves with the router's first word, or with the close. */
  function knock(text: string, subprotocol = 'wamp.2.json'): Promise<string> {
    const socket = new WebSocket(fixture.router.url, subprotocol);
    const heard = Promise.withResolvers<string>();
    const pubkey = `"pubkey":"${'ab'.repeat(32)}"`;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      socket.send(
        `[1,"s4t",{"roles":{"caller":{}},"authmethods":["cryptosign"],"authid":"${board.uuid}",` +
          `"authextra":{${pubkey},"channel_binding":null,"odd":${text}}}]`,
      );
    };
    socket.onmessage = (event) => heard.resolve(String(event.data));
    socket.onerror = () => undefined;
    socket.onclose = (event) => heard.resolve(opened ? `closed ${event.code}` : 'no handshake');
    return heard.promise.finally(() => socket.close());
  }

  it.each(oddities)('is turned away with %s, at once, and nobody else notices', async (_what, text) => {
    expect(await knock(text)).toMatch(/^\[3,.*invalid_credentials|^closed/);
    await expectUnharmed();
  });

  it('is not told which router this is, in which version', async () => {
    const response = await fetch(fixture.router.url.replace('ws:', 'http:'));
    expect(response.status).toBe(426);
    expect(`${response.headers.get('server')} ${await response.text()}`).not.toMatch(/\d+\.\d+/);
  });

  it('finds no serializer but JSON, which the agent reads too', async () => {
    for (const subprotocol of ['wamp.2.cbor', 'wamp.2.msgpack', 'wamp.2.ubjson', 'wamp.2.flatbuffers'])
      expect(await knock('1', subprotocol)).toBe('no handshake');
  });
});

describe('a joined board', () => {
  it.each(oddities)('sends %s in a reading, and is refused by name or cut off', async (_what, text) => {
    const session = await joinBoard(fixture, await seedBoard(fixture, tenantId));
    const hello = helloOf();
    await greet(session, hello);
    const kwargs = `{"epoch":"${hello.spoolEpoch}","from":1,"streams":[{"name":"lab/level","type":"number","unit":"m"}],"readings":[[0,1,${text}]]}`;
    await expect(session.callText(agentUris.appendReadings, kwargs)).rejects.toMatchObject({
      uri: expect.stringMatching(/^(wamp\.error\.invalid_argument|test\.lost)$/),
    });
    session.cut();
    await expectUnharmed();
  });

  it('is audited by name whatever characters it sends', async () => {
    const own = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, own);
    await expect(session.callText(agentUris.heartbeat, '{"\\ud800":1}')).rejects.toMatchObject({
      uri: 'wamp.error.invalid_argument',
    });
    await until('its audit row', async () => {
      const rows = await fixture.rows('SELECT * FROM audit_events WHERE actor = ?', [own.uuid]);
      return rows.length === 1;
    });
    const contract = { name: 'a', safety: 'idempotent', kwargs: { enum: ['\ud800'] } };
    await expect(
      session.call(agentUris.hello, { ...helloOf(), procedures: [contract] }),
    ).rejects.toMatchObject({ uri: 'wamp.error.invalid_argument', kwargs: { field: 'procedures[0]' } });
    await session.leave();
  });

  it('cannot speak for another board as the origin of a forwarded call', async () => {
    const victim = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, board);
    const asVictim = { forward_for: [{ session: 4711, authid: victim.uuid, authrole: 'board' }] };
    const batch = {
      epoch: randomUUID(),
      from: 1,
      streams: [{ name: 'lab/level', type: 'number', unit: '' }],
      readings: [[0, 1, 666]],
    };
    for (const [uri, kwargs] of [
      [agentUris.appendReadings, batch],
      [agentUris.heartbeat, { sentAt: 1 }],
      [agentUris.hello, helloOf()],
    ] as const)
      await expect(session.callText(uri, JSON.stringify(kwargs), asVictim)).rejects.toMatchObject({
        uri: 'wamp.error.not_authorized',
      });
    const stored = await fixture.rows('SELECT * FROM streams WHERE board_uuid = ?', [victim.uuid]);
    expect(stored).toEqual([]);
    await until('the audit names who did it', async () => {
      const rows = await fixture.rows(
        "SELECT * FROM audit_events WHERE action = 'wamp-call' AND result = 'not-authorized' AND actor = ?",
        [board.uuid],
      );
      return rows.length > 0;
    });
    await session.leave();
    await expectUnharmed();
  });

  it('answers a call with a number that is none: the caller gets null, the agent stays', async () => {
    const own = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, own);
    await greet(session, helloOf(), () => answerOf('{"value":1e400,"text":"Infinity"}'));
    expect(await relay(fixture, '/relay/rpc', rpcBody(own, 'echo'))).toMatchObject({
      status: 200,
      body: { result: { value: null, text: 'Infinity' } },
    });
    await session.leave();
    await expectUnharmed();
  });
});

describe('a service', () => {
  it('cannot tell a board that somebody else calls', async () => {
    const own = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, own);
    await greet(session, helloOf(), (_procedure, { details }) => details.caller_authrole);
    const service = await joinService(fixture, await seedKey(fixture, tenantId));
    const echo = boardProcedureUri(own.uuid, 'echo');
    expect(await service.call(echo)).toBe('service');
    const asAgent = { forward_for: [{ session: 4711, authid: 'agent', authrole: 'agent' }] };
    await expect(service.callText(echo, '{}', asAgent)).rejects.toMatchObject({
      uri: 'wamp.error.not_authorized',
    });
    await Promise.all([service.leave(), session.leave()]);
  });
});

describe('an enrolee', () => {
  it('is held to its code for as long as it stays: one that expired or was replaced is not spent', async () => {
    const own = await seedBoard(fixture, tenantId);
    const facts = { agentVersion: '0.1.0' };
    for (const [change, uri] of [
      ['expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND', 'boardwalk.error.enrolment_code_expired'],
      ['revoked_at = UTC_TIMESTAMP(3)', 'boardwalk.error.enrolment_code_invalid'],
    ]) {
      const code = await seedCode(fixture, own.uuid);
      const url = fixture.router.url;
      const session = await join({ url, method: 'ticket', authid: 'enrolee', ticket: code });
      await fixture.sql.query(`UPDATE enrolment_codes SET ${change} WHERE board_uuid = ?`, [own.uuid]);
      const { publicKey } = generateKeyPair();
      await expect(session.call(agentUris.enrol, { code, publicKey, facts })).rejects.toMatchObject({ uri });
      await session.leave();
    }
    const credentials = await fixture.rows('SELECT * FROM board_credentials WHERE board_uuid = ?', [
      own.uuid,
    ]);
    expect(credentials).toHaveLength(1);
  });
});

describe('what one board may take', () => {
  const stream = (name: string) => ({ name, type: 'number' as const, unit: '' });
  const modulesOf = (count: number, prefix: string) =>
    Array.from({ length: count / 500 }, (_, index) => ({
      name: `m${index}`,
      streams: Array.from({ length: 500 }, (_, each) => stream(`m${index}/${prefix}${each}`)),
    }));
  const tooMany = { uri: 'boardwalk.error.too_many_requests' };

  it('is 5,000 streams, in one hello and in all of them', async () => {
    const own = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, own);
    const count = async () => {
      const [row] = await fixture.rows('SELECT COUNT(*) AS n FROM streams WHERE board_uuid = ?', [own.uuid]);
      return Number(row?.n);
    };
    await expect(greet(session, helloOf({ modules: modulesOf(5500, 'a') }))).rejects.toMatchObject({
      uri: 'wamp.error.invalid_argument',
      kwargs: { field: 'modules' },
    });
    expect(await count()).toBe(0);
    const hello = helloOf({ modules: modulesOf(4500, 'a') });
    await session.call(agentUris.hello, hello);
    await session.call(agentUris.hello, { ...hello, modules: modulesOf(1000, 'b') });
    expect(await count()).toBe(5000);
    await expect(
      session.call(agentUris.appendReadings, {
        epoch: hello.spoolEpoch,
        from: 1,
        streams: [stream('m0/c')],
        readings: [[0, 1, 1]],
      }),
    ).rejects.toMatchObject({ uri: 'wamp.error.invalid_argument', kwargs: { field: 'streams' } });
    await session.leave();
  });

  it('is sixty lives of its spool in an hour', async () => {
    const own = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, own);
    const append = () =>
      session.call(agentUris.appendReadings, { epoch: randomUUID(), from: 1, streams: [], readings: [] });
    for (let index = 0; index < 60; index += 1) await append();
    await expect(append()).rejects.toMatchObject(tooMany);
    await expect(session.call(agentUris.hello, helloOf())).rejects.toMatchObject(tooMany);
    await session.leave();
  });

  it('is thirty hellos in a minute, in however many sessions', async () => {
    const own = await seedBoard(fixture, tenantId);
    const refused = async () => {
      const session = await joinBoard(fixture, own);
      const { spoolEpoch } = helloOf();
      const outcomes = await Promise.allSettled(
        Array.from({ length: 25 }, () => session.call(agentUris.hello, helloOf({ spoolEpoch }))),
      );
      await session.leave();
      return outcomes.filter((each) => each.status === 'rejected').map((each) => each.reason.uri);
    };
    expect(await refused()).toEqual([]);
    expect(await refused()).toEqual(Array(20).fill(tooMany.uri));
  });

  it('is contracts as deep as the database takes', async () => {
    const own = await seedBoard(fixture, tenantId);
    const session = await joinBoard(fixture, own);
    const nested = (depth: number) => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
    const hello = (depth: number) =>
      helloOf({ procedures: [{ name: 'a', kwargs: { default: nested(depth) }, safety: 'idempotent' }] });
    for (const depth of [30, 600])
      await expect(session.call(agentUris.hello, hello(depth))).rejects.toMatchObject({
        uri: 'wamp.error.invalid_argument',
        kwargs: { field: 'procedures[0]' },
      });
    await session.call(agentUris.hello, hello(29));
    await session.leave();
  });
});
