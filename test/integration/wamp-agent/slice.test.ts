import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../../board-agent/session/cryptosign.ts';
import { agentUris } from '../../../common/wamp/uris.ts';
import { until } from '../../harness/until.ts';
import {
  type Fixture,
  greet,
  helloOf,
  joinBoard,
  relay,
  rpcBody,
  seedBoard,
  seedCode,
  seedTenant,
  startFixture,
} from './fixture.ts';
import { join } from './raw-wamp.ts';

let fixture: Fixture;
let tenantId: string;

beforeAll(async () => {
  fixture = await startFixture();
  tenantId = await seedTenant(fixture);
});
afterAll(() => fixture?.stop());

describe('a board at a real router', () => {
  it('enrols, joins, says hello, is called, and its readings are stored', async () => {
    const board = await seedBoard(fixture, tenantId);
    const code = await seedCode(fixture, board.uuid);
    const keys = generateKeyPair();
    const enrolee = await join({
      url: fixture.router.url,
      method: 'ticket',
      authid: 'enrolee',
      ticket: code,
    });
    const facts = { agentVersion: '0.1.0', hostname: 'gw' };
    const answer = await enrolee.call(agentUris.enrol, { code, publicKey: keys.publicKey, facts });
    expect(answer).toMatchObject({ boardUuid: board.uuid, boardName: board.name, tenantId, realm: 's4t' });
    await enrolee.leave();

    const session = await joinBoard(fixture, { ...board, ...keys });
    const hello = helloOf();
    expect(
      await greet(session, hello, (procedure, call) =>
        procedure === 'echo' ? { text: call.kwargs.text, trace: call.details.transaction_hash } : undefined,
      ),
    ).toMatchObject({ ackedSeq: 0, settings: { batchIntervalMs: 5000, reconnectSpreadMs: 1000 } });
    const [row] = await fixture.rows('SELECT status, agent_version FROM boards WHERE uuid = ?', [board.uuid]);
    expect(row).toEqual({ status: 'online', agent_version: '0.1.0' });
    const states = await fixture.rows(
      'SELECT state FROM board_credentials WHERE board_uuid = ? ORDER BY state',
      [board.uuid],
    );
    expect(states.map((each) => each.state)).toEqual(['active', 'revoked']);

    const called = await relay(fixture, '/relay/rpc', rpcBody(board, 'echo', { kwargs: { text: 'hi' } }));
    expect(called).toMatchObject({
      status: 200,
      body: { result: { text: 'hi', trace: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' } },
    });

    const at = Date.now();
    const ack = await session.call(agentUris.appendReadings, {
      epoch: hello.spoolEpoch,
      from: 1,
      streams: [{ name: 'lab/level', type: 'number', unit: 'm' }],
      readings: [
        [0, at, 1.5],
        [0, at, 0.1],
      ],
    });
    expect(ack).toEqual({ ackedSeq: 2, batchIntervalMs: 5000 });
    const stored = await fixture.rows(
      'SELECT r.seq, r.value_number FROM readings r JOIN streams s ON s.id = r.stream_id WHERE s.board_uuid = ? ORDER BY r.seq',
      [board.uuid],
    );
    expect(stored).toEqual([
      { seq: 1, value_number: 1.5 },
      { seq: 2, value_number: 0.1 },
    ]);

    await session.leave();
    await until('the board is offline', async () => {
      const [now] = await fixture.rows('SELECT status FROM boards WHERE uuid = ?', [board.uuid]);
      return now?.status === 'offline';
    });
    const events = await fixture.rows('SELECT payload FROM events WHERE board_uuid = ? ORDER BY id', [
      board.uuid,
    ]);
    expect(events.map((each) => (each.payload as { reason: string }).reason)).toEqual(['hello', 'left']);
  });
});
