/** Boards get the schedules that they run by themselves: when they are there, once, and again when they lost them. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findLiveAgents } from '../../../common/db/queries/wamp-agents.ts';
import { createAgentDirectory } from '../../../common/relay/agent-directory.ts';
import { createRelayClient } from '../../../common/relay/relay-client.ts';
import { type BoardSchedule, parseBoardSchedules } from '../../../common/wamp/board-schedules.ts';
import { createBoardRests } from '../../../conductor/board-rests.ts';
import { handOutRestMs, handOutSchedules } from '../../../conductor/schedules/hand-out.ts';
import { relayKey } from '../rpc-support.ts';
import { type PlayedRelay, playRelay } from './engine-support.ts';
import { createContext, openConductorDatabase, silent } from './support.ts';

let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let relay: PlayedRelay;
let client: ReturnType<typeof createRelayClient>;
let now = 0;
const rests = createBoardRests(handOutRestMs, () => now);

beforeAll(async () => {
  db = await openConductorDatabase();
  relay = await playRelay();
  await db.rows.agent(relay.url);
  client = createRelayClient({
    directory: createAgentDirectory({ findAgents: () => db.database.read(findLiveAgents) }),
    key: relayKey,
    logger: silent,
  });
});
afterAll(async () => {
  client?.close();
  await relay?.close();
  await db?.close();
});
afterEach(() => {
  relay.calls.length = 0;
  relay.play(() => ({ result: { stored: 1 } }));
});

const run = () => handOutSchedules(createContext(db.database), { relay: client, rests });

async function board(tenant: string, name: string, epoch: string | null = null): Promise<string> {
  const uuid = await db.rows.board(tenant, name, { journal_epoch: epoch });
  await db.rows.session(uuid);
  return uuid;
}

async function schedule(tenant: string, target: object, columns: object = {}): Promise<string> {
  const id = randomUUID();
  const at = new Date(Date.UTC(2026, 0, 1));
  await db.connection.query('INSERT INTO schedules SET ?', [
    {
      id,
      tenant_id: tenant,
      name: id,
      state: 'active',
      timing: JSON.stringify({ kind: 'interval', everySeconds: 60, from: 0 }),
      overlap: 'skip',
      catch_up: 'last',
      catch_up_limit: 3,
      offline: 1,
      operation: JSON.stringify({ procedure: 'ping', kwargs: { a: 1 }, target, deadlineSeconds: 30 }),
      created_by: 'test',
      author: await db.rows.author(tenant),
      created_at: at,
      updated_at: at,
      ...columns,
    },
  ]);
  return id;
}

/** What each board was handed, in order. */
const handed = () =>
  relay.calls.map(({ boardUuid, procedure, kwargs }): [string, BoardSchedule[]] => {
    expect(procedure).toBe('operation.schedules');
    return [boardUuid, parseBoardSchedules(kwargs)];
  });
const idsHanded = () => handed().map(([uuid, list]) => [uuid, list.map((each) => each.scheduleId)] as const);
const rowsOf = async (uuid: string) =>
  Number(await db.value('SELECT COUNT(*) FROM board_schedules WHERE board_uuid = ?', [uuid]));

describe('an offline schedule', () => {
  it('is handed to its boards as they understand it, once', async () => {
    relay.play(() => ({ result: { stored: 1 } }));
    const tenant = await db.rows.tenant();
    const epoch = randomUUID();
    const uuid = await board(tenant, 'gw', epoch);
    const id = await schedule(tenant, { boards: [uuid] });
    expect(await run()).toMatchObject({ handed: 1, refused: 0 });
    expect(handed()).toEqual([
      [
        uuid,
        [
          {
            scheduleId: id,
            version: 1,
            timing: { kind: 'interval', everySeconds: 60, from: 0 },
            procedure: 'ping',
            kwargs: { a: 1 },
            deadlineSeconds: 30,
            jitterSeconds: 0,
            overlap: 'skip',
            catchUp: { mode: 'last', limit: 3 },
            after: Date.UTC(2026, 0, 1),
          },
        ],
      ],
    ]);
    expect(relay.calls[0]?.caller).toEqual({ kind: 'process', id: 'conductor' });
    expect(await run()).toMatchObject({ handed: 0 });
    const [rows] = await db.connection.query(
      'SELECT handed_epoch FROM board_schedules WHERE board_uuid = ?',
      [uuid],
    );
    expect(rows).toMatchObject([{ handed_epoch: epoch }]);
  });

  it('reaches a board that was away when it is back', async () => {
    const tenant = await db.rows.tenant();
    const uuid = await db.rows.board(tenant, 'gw');
    await schedule(tenant, { boards: [uuid] });
    expect(await run()).toMatchObject({ handed: 0 });
    await db.rows.session(uuid);
    expect(await run()).toMatchObject({ handed: 1 });
  });

  it('is handed anew when it changes, is taken back when it rests, and comes again', async () => {
    const tenant = await db.rows.tenant();
    const uuid = await board(tenant, 'gw');
    const first = await schedule(tenant, { boards: [uuid] });
    const second = await schedule(
      tenant,
      { selector: '!none' },
      { created_at: new Date(Date.UTC(2026, 0, 2)) },
    );
    await run();
    await db.connection.query("UPDATE schedules SET state = 'paused' WHERE id = ?", [first]);
    await run();
    await db.connection.query('DELETE FROM schedules WHERE id = ?', [second]);
    await run();
    expect(await rowsOf(uuid)).toBe(0);
    await db.connection.query(
      "UPDATE schedules SET state = 'active', version = 2, updated_at = UTC_TIMESTAMP(3) WHERE id = ?",
      [first],
    );
    await run();
    await run();
    expect(idsHanded()).toEqual([
      [uuid, [first, second]],
      [uuid, [second]],
      [uuid, []],
      [uuid, [first]],
    ]);
    expect(handed().at(-1)?.[1][0]?.version).toBe(2);
  });

  it('follows its fleet: boards that leave lose it, boards that come get it', async () => {
    const tenant = await db.rows.tenant();
    const [here, there] = [await board(tenant, 'here'), await board(tenant, 'there')];
    const fleet = randomUUID();
    const made = { created_by: 'test', created_at: new Date(), updated_at: new Date() };
    await db.connection.query('INSERT INTO fleets SET ?', [
      { id: fleet, tenant_id: tenant, name: 'f', ...made },
    ]);
    const member = (uuid: string) => ({ fleet_id: fleet, board_uuid: uuid });
    await db.connection.query('INSERT INTO fleet_boards SET ?', [member(here)]);
    const id = await schedule(tenant, { fleet });
    await run();
    await db.connection.query('DELETE FROM fleet_boards');
    await db.connection.query('INSERT INTO fleet_boards SET ?', [member(there)]);
    await run();
    expect(idsHanded().slice(0, 1)).toEqual([[here, [id]]]);
    expect(new Map(idsHanded().slice(1))).toEqual(
      new Map([
        [here, []],
        [there, [id]],
      ]),
    );
    await db.connection.query('DELETE FROM fleets WHERE id = ?', [fleet]);
    await run();
    expect(idsHanded().slice(3)).toEqual([[there, []]]);
  });

  it('is taken back when its author loses the right, says why, and comes again with another author', async () => {
    const tenant = await db.rows.tenant();
    const uuid = await board(tenant, 'gw');
    const id = await schedule(tenant, { boards: [uuid] });
    const lastError = () => db.value('SELECT last_error FROM schedules WHERE id = ?', [id]);
    await run();
    expect(await lastError()).toBeNull();
    await db.connection.query("UPDATE memberships SET role = 'user_iot' WHERE tenant_id = ?", [tenant]);
    await run();
    await run();
    expect(await lastError()).toMatch(/^the role of its author user:\S+ is user_iot/);
    const denied = 'SELECT COUNT(*) FROM audit_events WHERE target = ? AND result = ?';
    expect(Number(await db.value(denied, [id, 'forbidden']))).toBe(1);
    await db.connection.query('UPDATE schedules SET author = ? WHERE id = ?', [
      await db.rows.author(tenant),
      id,
    ]);
    await run();
    expect(await lastError()).toBeNull();
    expect(idsHanded()).toEqual([
      [uuid, [id]],
      [uuid, []],
      [uuid, [id]],
    ]);
  });

  it('is handed again to a board that came with another journal', async () => {
    const tenant = await db.rows.tenant();
    const uuid = await board(tenant, 'gw', randomUUID());
    const id = await schedule(tenant, { boards: [uuid] });
    await run();
    await db.connection.query('UPDATE boards SET journal_epoch = ? WHERE uuid = ?', [randomUUID(), uuid]);
    await run();
    await run();
    expect(idsHanded()).toEqual([
      [uuid, [id]],
      [uuid, [id]],
    ]);
  });

  it('is tried again later with a board that did not take it, and keeps no other from theirs', async () => {
    const tenant = await db.rows.tenant();
    const [good, bad] = [await board(tenant, 'good'), await board(tenant, 'bad')];
    await schedule(tenant, { boards: [bad, good] });
    relay.play(({ boardUuid }) =>
      boardUuid === bad ? { status: 404, code: 'procedure-not-found' } : { result: {} },
    );
    expect(await run()).toMatchObject({ handed: 1, refused: 1 });
    expect(await run()).toMatchObject({ handed: 0, refused: 0 });
    now += 31_000;
    relay.play(() => ({ result: {} }));
    expect(await run()).toMatchObject({ handed: 1, refused: 0 });
    expect(await rowsOf(bad)).toBe(1);
  });

  it('costs one short look when there is none', async () => {
    await db.connection.query('DELETE FROM schedules');
    await db.connection.query('DELETE FROM board_schedules');
    expect(await run()).toEqual({ handed: 0, refused: 0, complete: true });
    expect(relay.calls).toEqual([]);
  });
});
