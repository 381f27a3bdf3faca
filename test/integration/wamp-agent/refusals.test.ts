import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../../board-agent/session/cryptosign.ts';
import { agentUris, boardEventTopic, boardPrefix, boardProcedureUri } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import {
  type Fixture,
  greet,
  helloOf,
  joinBoard,
  joinService,
  relay,
  type SeededBoard,
  seedBoard,
  seedCode,
  seedCredential,
  seedKey,
  seedTenant,
  startFixture,
} from './fixture.ts';
import { join } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;
let board: SeededBoard;

beforeAll(async () => {
  fixture = await startFixture();
  tenantId = await seedTenant(fixture);
  board = await seedBoard(fixture, tenantId);
});
afterAll(() => fixture?.stop());

/** Waits for the audit row of a refusal. */
async function audited(action: string, result: string, like: Record<string, unknown> = {}): Promise<void> {
  await until(`an audit row ${action} ${result}`, async () => {
    const rows = await fixture.rows('SELECT * FROM audit_events WHERE action = ? AND result = ?', [
      action,
      result,
    ]);
    return rows.some((row) => Object.entries(like).every(([key, value]) => row[key] === value));
  });
}

/** Every refusal leaves the agent unharmed: it still serves. */
async function unharmed(): Promise<void> {
  const response = await fetch(`${fixture.agents[0]?.relayUrl}/readyz`);
  expect(await response.json()).toMatchObject({ status: 'ready' });
}

describe('joining', () => {
  const url = () => fixture.router.url;

  it('refuses a board with a key that is not its own, and says so in the audit', async () => {
    const other = generateKeyPair();
    await expect(joinBoard(fixture, { ...board, ...other })).rejects.toMatchObject({
      uri: 'boardwalk.error.invalid_credentials',
    });
    await audited('wamp-join', 'invalid-credentials', { actor: board.uuid, remote_address: '127.0.0.1' });
  });

  it('refuses a signature made with another key', async () => {
    const { privateKey } = generateKeyPair();
    await expect(joinBoard(fixture, { ...board, privateKey })).rejects.toMatchObject({
      uri: expect.stringContaining('wamp.error.'),
    });
  });

  it('refuses a board that does not exist, and one that is revoked', async () => {
    await expect(joinBoard(fixture, { ...board, uuid: randomUUID() })).rejects.toMatchObject({
      uri: 'boardwalk.error.invalid_credentials',
    });
    const revoked = await seedBoard(fixture, tenantId);
    await fixture.sql.query("UPDATE boards SET status = 'revoked' WHERE uuid = ?", [revoked.uuid]);
    await expect(joinBoard(fixture, revoked)).rejects.toMatchObject({ uri: 'boardwalk.error.board_revoked' });
    await audited('wamp-join', 'board-revoked', { actor: revoked.uuid });
  });

  it('refuses anonymous sessions', async () => {
    await expect(join({ url: url(), method: 'anonymous' })).rejects.toMatchObject({
      uri: 'boardwalk.error.unauthenticated',
    });
    await audited('wamp-join', 'unauthenticated', { remote_address: '127.0.0.1' });
  });

  it('refuses wrong, revoked and expired API keys', async () => {
    const key = await seedKey(fixture, tenantId);
    const refused = { uri: 'boardwalk.error.invalid_credentials' };
    await expect(joinService(fixture, { ...key, token: `${key.token}x` })).rejects.toMatchObject(refused);
    await fixture.sql.query('UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = ?', [key.id]);
    await expect(joinService(fixture, key)).rejects.toMatchObject(refused);
    const expired = await seedKey(fixture, tenantId);
    await fixture.sql.query(
      'UPDATE api_keys SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 SECOND WHERE id = ?',
      [expired.id],
    );
    await expect(joinService(fixture, expired)).rejects.toMatchObject(refused);
    const ticket = key.token;
    await expect(join({ url: url(), method: 'ticket', authid: 'agent', ticket })).rejects.toMatchObject(
      refused,
    );
    await expect(join({ url: url(), method: 'ticket', ticket })).rejects.toMatchObject(refused);
    await unharmed();
  });

  it('takes an API key id without its dashes', async () => {
    const key = await seedKey(fixture, tenantId);
    const session = await joinService(fixture, { ...key, id: key.id.replaceAll('-', '') });
    expect(session.authid).toBe(key.id);
    await session.leave();
  });
});

describe('enrolling', () => {
  const enrolee = (ticket: string) =>
    join({ url: fixture.router.url, method: 'ticket', authid: 'enrolee', ticket });
  const facts = { agentVersion: '0.1.0' };

  it('gives the same answer to the same key, and refuses another key', async () => {
    const code = await seedCode(fixture, board.uuid);
    const session = await enrolee(code.toUpperCase().replaceAll(/(.{4})/g, '$1-'));
    const { publicKey } = generateKeyPair();
    const first = await session.call(agentUris.enrol, { code, publicKey, facts });
    expect(first).toMatchObject({ boardUuid: board.uuid, routerUrls: [fixture.router.url] });
    expect(await session.call(agentUris.enrol, { code, publicKey, facts })).toMatchObject({
      boardUuid: board.uuid,
    });
    const again = await enrolee(code);
    await expect(
      again.call(agentUris.enrol, { code, publicKey: generateKeyPair().publicKey, facts }),
    ).rejects.toMatchObject({ uri: 'boardwalk.error.enrolment_code_used' });
    await audited('enrol', 'enrolment-code-used');
    await audited('enrol', 'ok', { target: board.uuid });
    await Promise.all([session.leave(), again.leave()]);
  });

  it('holds a session to the code that it joined with', async () => {
    const [mine, other] = [await seedCode(fixture, board.uuid), await seedCode(fixture, board.uuid)];
    const session = await enrolee(mine);
    const { publicKey } = generateKeyPair();
    await expect(session.call(agentUris.enrol, { code: other, publicKey, facts })).rejects.toMatchObject({
      uri: 'boardwalk.error.enrolment_code_invalid',
    });
    await session.leave();
  });

  it('refuses a key that another board uses', async () => {
    const other = await seedBoard(fixture, tenantId);
    const code = await seedCode(fixture, board.uuid);
    const session = await enrolee(code);
    await expect(
      session.call(agentUris.enrol, { code, publicKey: other.publicKey, facts }),
    ).rejects.toMatchObject({ uri: 'wamp.error.invalid_argument', kwargs: { field: 'publicKey' } });
    await session.leave();
  });

  it('lets an enrolee call nothing else', async () => {
    const session = await enrolee(await seedCode(fixture, board.uuid));
    for (const uri of [
      agentUris.hello,
      agentUris.appendReadings,
      'wamp.session.list',
      agentUris.authenticate,
    ])
      await expect(session.call(uri)).rejects.toMatchObject({ uri: 'wamp.error.not_authorized' });
    await session.leave();
  });

  it('refuses expired codes by name, and slows down who guesses', async () => {
    await expect(enrolee(await seedCode(fixture, board.uuid, -1))).rejects.toMatchObject({
      uri: 'boardwalk.error.enrolment_code_expired',
    });
    const reasons: string[] = [];
    for (let index = 0; index < 12; index += 1)
      await enrolee(`guess-${index}`).catch((error) => reasons.push(error.uri));
    expect(reasons[0]).toBe('boardwalk.error.enrolment_code_invalid');
    expect(reasons.at(-1)).toBe('boardwalk.error.too_many_requests');
    const rows = await fixture.rows(
      "SELECT * FROM audit_events WHERE action = 'wamp-join' AND result = 'enrolment-code-invalid'",
    );
    expect(rows).toHaveLength(1);
    await unharmed();
    // The limit is in the agent's memory: a new agent knows nothing of these guesses.
    await fixture.agents.shift()?.kill();
    await fixture.startAgent();
  });
});

describe('a joined board', () => {
  it('may register its own prefix and nothing else', async () => {
    const session = await joinBoard(fixture, board);
    const other = await seedBoard(fixture, tenantId);
    const refused = { uri: 'wamp.error.not_authorized' };
    const prefix = { match: 'prefix' };
    await expect(session.register(boardPrefix(other.uuid), prefix)).rejects.toMatchObject(refused);
    await expect(session.register('boardwalk.board.', prefix)).rejects.toMatchObject(refused);
    await expect(session.register(boardPrefix(board.uuid), { match: 'wildcard' })).rejects.toMatchObject(
      refused,
    );
    await expect(session.register(agentUris.hello, { invoke: 'roundrobin' })).rejects.toMatchObject(refused);
    await expect(
      session.register(boardPrefix(board.uuid), { match: 'prefix', invoke: 'roundrobin' }),
    ).rejects.toMatchObject(refused);
    await session.register(boardPrefix(board.uuid), prefix);
    // The router takes this one for a breach of the protocol.
    await expect(session.register(boardPrefix(board.uuid), { match: 'exact' })).rejects.toBeDefined();
    await audited('wamp-authorize', 'not-authorized', { actor: board.uuid, actor_kind: 'board' });
    await session.ended;
  });

  it('may call neither other boards, nor meta procedures, nor enrol, nor publish or subscribe', async () => {
    const session = await joinBoard(fixture, board);
    const other = await seedBoard(fixture, tenantId);
    const refused = { uri: 'wamp.error.not_authorized' };
    for (const uri of [
      boardProcedureUri(other.uuid, 'echo'),
      boardProcedureUri(board.uuid, 'echo'),
      agentUris.enrol,
      agentUris.authenticate,
      agentUris.authorize,
      'wamp.session.list',
      'wamp.session.kill_by_authid',
    ])
      await expect(session.call(uri), uri).rejects.toMatchObject(refused);
    const topic = boardEventTopic(tenantId, board.uuid, 'presence');
    await expect(session.subscribe(topic)).rejects.toMatchObject(refused);
    await expect(session.publish(topic)).rejects.toMatchObject(refused);
    await session.leave();
    await unharmed();
  });

  it('is told the field of a payload that is malformed, and its next good call is taken', async () => {
    const session = await joinBoard(fixture, board);
    const hello = helloOf();
    await greet(session, hello);
    const batch = {
      epoch: hello.spoolEpoch,
      from: 1,
      streams: [{ name: 'lab/level', type: 'number', unit: 'm' }],
      readings: [[0, Date.now(), 1]],
    };
    const malformed: [uri: string, kwargs: unknown, field: string][] = [
      [agentUris.hello, { ...hello, bootId: 7 }, 'bootId'],
      [agentUris.hello, { ...hello, extra: 1 }, 'kwargs.extra'],
      [
        agentUris.hello,
        { ...hello, procedures: [{ name: 'operation.run', safety: 'idempotent' }] },
        'procedures',
      ],
      [agentUris.heartbeat, { sentAt: 'now' }, 'sentAt'],
      [agentUris.heartbeat, {}, 'sentAt'],
      [agentUris.appendReadings, { ...batch, from: 0 }, 'from'],
      [agentUris.appendReadings, { ...batch, readings: [[3, Date.now(), 1]] }, 'readings[0]'],
      [agentUris.appendReadings, { ...batch, readings: [[0, Date.now(), 'warm']] }, 'readings[0]'],
      [agentUris.appendReadings, { ...batch, epoch: "'; DROP TABLE readings; --" }, 'epoch'],
    ];
    for (const [uri, kwargs, field] of malformed)
      await expect(session.call(uri, kwargs), field).rejects.toMatchObject({
        uri: 'wamp.error.invalid_argument',
        kwargs: { field },
      });
    await expect(session.call(agentUris.heartbeat, {}, [1])).rejects.toMatchObject({
      kwargs: { field: 'args' },
    });
    await audited('wamp-call', 'invalid-arguments', { actor: board.uuid });
    expect(await session.call(agentUris.appendReadings, batch)).toMatchObject({ ackedSeq: 1 });
    const text = [{ name: 'lab/level', type: 'text', unit: '' }];
    await expect(
      session.call(agentUris.appendReadings, { ...batch, from: 2, streams: text, readings: [[0, 1, 'x']] }),
    ).rejects.toMatchObject({ uri: 'wamp.error.invalid_argument', kwargs: { field: 'streams[0].type' } });
    await session.leave();
    await unharmed();
  });

  it('is cut off by the router when it sends more than a message may hold', async () => {
    const session = await joinBoard(fixture, board);
    await expect(
      session.call(agentUris.heartbeat, { sentAt: 1, pad: 'x'.repeat(2_000_000) }),
    ).rejects.toBeDefined();
    await unharmed();
  });
});

describe('a service', () => {
  it('calls boards of its tenant within its scope, and no others', async () => {
    const session = await joinBoard(fixture, board);
    await greet(session, helloOf(), (procedure, call) => ({ procedure, by: call.details.caller_authid }));
    const foreignTenant = await seedTenant(fixture);
    const second = await seedBoard(fixture, tenantId);
    const refused = { uri: 'wamp.error.not_authorized' };
    const scope = { boards: [board.uuid], procedures: ['echo', 'lab.*'] };
    const key = await seedKey(fixture, tenantId, scope);
    const service = await joinService(fixture, key);
    const echo = boardProcedureUri(board.uuid, 'echo');
    expect(await service.call(echo)).toEqual({ procedure: 'echo', by: key.id });
    expect(await service.call(boardProcedureUri(board.uuid, 'lab.reset'))).toBeDefined();
    for (const uri of [
      boardProcedureUri(board.uuid, 'fail'),
      boardProcedureUri(board.uuid, 'operation.settings'),
      boardProcedureUri(second.uuid, 'echo'),
      agentUris.hello,
      agentUris.appendReadings,
      'wamp.session.list',
    ])
      await expect(service.call(uri), uri).rejects.toMatchObject(refused);
    await audited('wamp-authorize', 'not-authorized', { actor: key.id, actor_kind: 'key' });

    const wide = await joinService(fixture, await seedKey(fixture, tenantId));
    expect(await wide.call(echo)).toBeDefined();
    await expect(wide.call(boardProcedureUri(board.uuid, 'operation.run'))).rejects.toMatchObject(refused);
    const reader = await joinService(fixture, await seedKey(fixture, tenantId, { role: 'user_iot' }));
    await expect(reader.call(echo)).rejects.toMatchObject(refused);
    const foreign = await joinService(fixture, await seedKey(fixture, foreignTenant));
    await expect(foreign.call(echo)).rejects.toMatchObject(refused);
    await Promise.all([service, wide, reader, foreign, session].map((each) => each.leave()));
  });

  it('subscribes to topics of its tenant within its scope, and publishes and registers nothing', async () => {
    const foreignTenant = await seedTenant(fixture);
    const refused = { uri: 'wamp.error.not_authorized' };
    const prefix = { match: 'prefix' };
    const wide = await joinService(fixture, await seedKey(fixture, tenantId, { role: 'user_iot' }));
    const topic = boardEventTopic(tenantId, board.uuid, 'presence');
    await wide.subscribe(topic);
    await wide.subscribe(`boardwalk.tenant.${tenantId}.`, prefix);
    await expect(
      wide.subscribe(`boardwalk.tenant.${tenantId}..${board.uuid}.presence`, { match: 'wildcard' }),
    ).rejects.toMatchObject(refused);
    await expect(
      wide.subscribe(boardEventTopic(foreignTenant, board.uuid, 'presence')),
    ).rejects.toMatchObject(refused);
    await expect(wide.subscribe('boardwalk.tenant.', prefix)).rejects.toMatchObject(refused);
    await expect(wide.subscribe(`boardwalk.tenant.${tenantId.slice(0, 35)}`, prefix)).rejects.toMatchObject(
      refused,
    );
    await expect(wide.subscribe('', prefix)).rejects.toBeDefined();
    await expect(wide.subscribe('wamp.session.on_join')).rejects.toMatchObject(refused);
    await expect(wide.publish(topic)).rejects.toMatchObject(refused);
    await expect(wide.register(`${boardPrefix(board.uuid)}echo`, {})).rejects.toMatchObject(refused);
    const scoped = await joinService(fixture, await seedKey(fixture, tenantId, { boards: [board.uuid] }));
    await scoped.subscribe(topic);
    await scoped.subscribe(`boardwalk.tenant.${tenantId}.board.${board.uuid}.`, prefix);
    await expect(scoped.subscribe(`boardwalk.tenant.${tenantId}.board.`, prefix)).rejects.toMatchObject(
      refused,
    );
    await expect(scoped.subscribe(boardEventTopic(tenantId, randomUUID(), 'presence'))).rejects.toMatchObject(
      refused,
    );
    await Promise.all([wide.leave(), scoped.leave()]);
  });

  it('loses its rights and its session within seconds when its key is revoked', async () => {
    const key = await seedKey(fixture, tenantId);
    const service = await joinService(fixture, key);
    await fixture.sql.query('UPDATE api_keys SET revoked_at = UTC_TIMESTAMP(3) WHERE id = ?', [key.id]);
    expect(await service.ended).toBe('boardwalk.close.ended_by_server');
  });
});

describe('the relay', () => {
  it('serves nobody without its key', async () => {
    for (const path of ['/relay/rpc', '/relay/live', '/relay/disconnect'])
      expect(await relay(fixture, path, {}, { key: 'wrong' })).toMatchObject({
        status: 401,
        body: { code: 'unauthenticated' },
      });
    expect(await relay(fixture, '/relay/other', {})).toMatchObject({ status: 404 });
    expect(await relay(fixture, '/relay/rpc', { boardUuid: 'x' })).toMatchObject({ status: 422 });
  });
});

describe('a key that was replaced', () => {
  it('is revoked only when the new one has joined, and its session ends', async () => {
    const own = await seedBoard(fixture, tenantId);
    const old = await joinBoard(fixture, own);
    await greet(old);
    const fresh = generateKeyPair();
    await seedCredential(fixture, own.uuid, fresh.publicKey, 'pending');
    const states = () =>
      fixture.rows('SELECT public_key, state FROM board_credentials WHERE board_uuid = ?', [own.uuid]);
    // Knowing the public key is not having joined with it.
    await expect(
      joinBoard(fixture, { ...own, publicKey: fresh.publicKey, privateKey: own.privateKey }),
    ).rejects.toBeDefined();
    expect(await states()).toContainEqual({ public_key: own.publicKey, state: 'active' });
    const session = await joinBoard(fixture, { ...own, ...fresh });
    await greet(session);
    expect(await states()).toEqual(
      expect.arrayContaining([
        { public_key: own.publicKey, state: 'revoked' },
        { public_key: fresh.publicKey, state: 'active' },
      ]),
    );
    expect(await old.ended).toBe('boardwalk.close.ended_by_server');
    await expect(joinBoard(fixture, own)).rejects.toMatchObject({
      uri: 'boardwalk.error.invalid_credentials',
    });
    await session.leave();
  });
});
