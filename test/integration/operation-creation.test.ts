/** Which boards an operation reaches, and the rows that it begins with. */
import { randomUUID } from 'node:crypto';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../common/db/database.ts';
import { createContractMemory } from '../../common/db/queries/contract-memory.ts';
import {
  inlineTargets,
  insertOperation,
  insertTargets,
  type OperationSpec,
} from '../../common/db/queries/operation-creation.ts';
import {
  resolveTargets,
  type TargetChoice,
  type TargetRequest,
} from '../../common/db/queries/operation-targets.ts';
import { requireTargets } from '../../common/db/queries/require-targets.ts';
import { parseRolloutOptions } from '../../common/operations/rollout.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import type { ProcedureContract } from '../../common/wamp/contract.ts';
import { createApiRows } from '../harness/api.ts';
import { createTestDatabase, type TestDatabase } from '../harness/mariadb.ts';

let db: TestDatabase;
let connection: Connection;
let database: Database;
let rows: ReturnType<typeof createApiRows>;
let tenant: string;
beforeAll(async () => {
  db = await createTestDatabase();
  connection = await db.connect();
  database = createDatabase({ url: db.url, logger: createLogger('test', 'silent') });
  rows = createApiRows(connection);
  tenant = await rows.tenant();
});
afterAll(async () => {
  await database?.close();
  await connection?.end();
  await db?.drop();
});

const write: ProcedureContract = {
  name: 'gpio.write',
  kwargs: { type: 'object', properties: { pin: { type: 'integer', maximum: 7 } }, required: ['pin'] },
  safety: 'idempotent',
};

async function publish(boards: readonly string[], hash: string, ...contracts: ProcedureContract[]) {
  await connection.query('UPDATE boards SET contracts_hash = ? WHERE uuid IN (?)', [hash, boards]);
  for (const each of contracts)
    await connection.query('INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES ?', [
      boards.map((uuid) => [uuid, each.name, JSON.stringify(each)]),
    ]);
}

const resolve = (target: TargetChoice, options: Partial<TargetRequest> = {}) =>
  database.read((manager) =>
    resolveTargets(manager, {
      tenantId: tenant,
      target,
      scopeBoards: null,
      procedure: 'gpio.write',
      kwargs: { pin: 1 },
      ...options,
    }),
  );
const names = (boards: readonly { name: string }[]) => boards.map((each) => each.name);

describe('contracts that are remembered', () => {
  it('are those of the hash, also when a board says hello in between', async () => {
    const board = await rows.board(tenant, { status: 'online' });
    await publish([board], 'hash-before', write);
    const contracts = createContractMemory();
    const target = { boards: [board] };
    await database.read((manager) => {
      let isFirst = true;
      const late = new Proxy(manager, {
        get: (of, name) =>
          name !== 'query'
            ? Reflect.get(of, name)
            : async (sql: string, values?: unknown[]) => {
                const found = await of.query(sql, values);
                if (isFirst) {
                  isFirst = false;
                  await connection.query('DELETE FROM procedure_contracts WHERE board_uuid = ?', [board]);
                  await publish([board], 'hash-after');
                }
                return found;
              },
      });
      const request = { tenantId: tenant, target, scopeBoards: null, procedure: 'gpio.write' };
      return resolveTargets(late, { ...request, kwargs: { pin: 1 }, contracts });
    });
    expect(contracts.find('hash-before', 'gpio.write')).toBeUndefined();
    await publish([board], 'hash-before', write);
    expect((await resolve(target, { contracts })).included).toMatchObject([{ uuid: board }]);
    expect(contracts.find('hash-before', 'gpio.write')).toEqual(write);
  });
});

describe('the boards of a target', () => {
  let able: string;
  let unable: string;
  let fresh: string;
  beforeAll(async () => {
    able = await rows.board(tenant, { name: 'b-able', status: 'online' }, { site: 'lyon' });
    unable = await rows.board(tenant, { name: 'a-unable' }, { site: 'lyon' });
    fresh = await rows.board(tenant, { name: 'c-fresh' }, { site: 'rome' });
    await rows.board(tenant, { name: 'd-revoked', status: 'revoked' }, { site: 'lyon' });
    await publish([able], 'h-able', write);
    await publish([unable], 'h-unable');
  });

  it('are those named, in the order that they were named in, each once', async () => {
    const { included } = await resolve({ boards: ['C-Fresh', able, 'b-able', 'c-fresh'] });
    expect(included).toEqual([
      { uuid: fresh, name: 'c-fresh', status: 'registered', safety: null },
      { uuid: able, name: 'b-able', status: 'online', safety: 'idempotent' },
    ]);
  });

  it('are missed by their names when they do not exist', async () => {
    await expect(resolve({ boards: ['b-able', 'nobody', randomUUID(), able] })).rejects.toMatchObject({
      code: 'board-not-found',
      message: expect.stringMatching(/^there is no board nobody, [0-9a-f-]{36}$/),
      details: { errors: [{ pointer: '/target/boards/1' }, { pointer: '/target/boards/2' }] },
    });
  });

  it('are missing when they are outside of the scope of a key, or of another tenant', async () => {
    const scopeBoards = new Set([fresh]);
    await expect(resolve({ boards: [able] }, { scopeBoards })).rejects.toMatchObject({
      code: 'board-not-found',
    });
    await expect(resolve({ boards: [able] }, { tenantId: await rows.tenant() })).rejects.toMatchObject({
      code: 'board-not-found',
    });
    expect(names((await resolve({ selector: 'site' }, { scopeBoards })).included)).toEqual(['c-fresh']);
  });

  it('are found by a name that the database takes for the same', async () => {
    const uuid = await rows.board(tenant, { name: 'Zürich' });
    expect((await resolve({ boards: ['zurich', able] })).included.map((each) => each.uuid)).toContain(uuid);
  });

  it('are those that a selector matches, less those that cannot do it, with the reason', async () => {
    const { included, excluded } = await resolve({ selector: 'site=lyon' });
    expect(names(included)).toEqual(['b-able']);
    expect(excluded.map(({ name, reason }) => [name, reason])).toEqual([
      ['a-unable', 'procedure-not-found'],
      ['d-revoked', 'board-revoked'],
    ]);
  });

  it('are not those whose contract the arguments break', async () => {
    const { included, excluded, faults } = await resolve({ selector: 'site' }, { kwargs: { pin: 9 } });
    expect(names(included)).toEqual(['c-fresh']);
    expect(excluded[1]).toEqual({
      uuid: able,
      name: 'b-able',
      reason: 'invalid-arguments',
      detail: '/kwargs/pin must be at most 7',
    });
    expect(faults).toEqual([{ pointer: '/kwargs/pin', message: 'must be at most 7' }]);
  });

  it('are those of a fleet: named ones, and whatever its selector matches', async () => {
    const fleet = (name: string, selector: string | null) => {
      const id = randomUUID();
      const made = { created_at: new Date(), updated_at: new Date() };
      return rows
        .insert('fleets', { id, tenant_id: tenant, name, selector, created_by: 'test', ...made })
        .then(() => id);
    };
    const named = await fleet('named', null);
    await rows.insert('fleet_boards', { fleet_id: named, board_uuid: fresh });
    await fleet('lyon', 'site=lyon');
    expect(names((await resolve({ fleet: named })).included)).toEqual(['c-fresh']);
    expect(names((await resolve({ fleet: 'Lyon' })).included)).toEqual(['b-able']);
    await expect(resolve({ fleet: 'nowhere' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(resolve({ fleet: named }, { tenantId: await rows.tenant() })).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  it('must be at least one, or all of them when it is strict', async () => {
    const refusal = async (target: TargetChoice, kwargs = { pin: 1 }, strict = false) => {
      const resolved = await resolve(target, { kwargs });
      try {
        requireTargets(resolved, { procedure: 'gpio.write', strict });
        return 'none';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(await refusal({ boards: ['a-unable'] })).toBe('procedure-not-found');
    expect(await refusal({ boards: ['b-able'] }, { pin: 9 })).toBe('invalid-arguments');
    expect(await refusal({ boards: ['d-revoked'] })).toBe('board-revoked');
    expect(await refusal({ selector: 'nowhere' })).toBe('invalid-arguments');
    expect(await refusal({ boards: ['a-unable', 'b-able'] })).toBe('none');
    expect(await refusal({ boards: ['a-unable', 'b-able'] }, { pin: 1 }, true)).toBe('invalid-arguments');
    expect(await refusal({ boards: ['b-able'] }, { pin: 1 }, true)).toBe('none');
  });
});

describe('ten thousand boards', () => {
  it('are found and checked within two seconds', async () => {
    const own = await rows.tenant();
    const now = new Date();
    const boards = Array.from({ length: 10_000 }, (_, index) => [
      randomUUID(),
      own,
      `gw-${String(index).padStart(5, '0')}`,
      'online',
      `hash-${index % 100}`,
      now,
      now,
    ]);
    for (let from = 0; from < boards.length; from += 2000) {
      const part = boards.slice(from, from + 2000);
      await connection.query(
        'INSERT INTO boards (uuid, tenant_id, name, status, contracts_hash, created_at, updated_at) VALUES ?',
        [part],
      );
      await connection.query('INSERT INTO procedure_contracts (board_uuid, name, contract) VALUES ?', [
        part.map(([uuid]) => [uuid, write.name, JSON.stringify(write)]),
      ]);
      await connection.query(
        'INSERT INTO board_labels (board_uuid, tenant_id, label_key, label_value) VALUES ?',
        [part.map(([uuid]) => [uuid, own, 'site', 'lyon'])],
      );
    }
    const startedAt = performance.now();
    const { included } = await resolve({ selector: 'site=lyon' }, { tenantId: own });
    expect(performance.now() - startedAt).toBeLessThan(2000);
    expect(included).toHaveLength(10_000);
    expect(included[0]).toMatchObject({ name: 'gw-00000', safety: 'idempotent' });
  }, 60_000);
});

describe('the rows of an operation', () => {
  const table = async (name: string, id: string) => {
    const column = name === 'operations' ? 'id' : 'operation_id';
    const [found] = await connection.query<RowDataPacket[]>('SELECT * FROM ?? WHERE ?? = ?', [
      name,
      column,
      id,
    ]);
    return found;
  };
  const targets = (count: number) =>
    Array.from({ length: count }, () => ({ uuid: randomUUID(), safety: 'journaled' }));
  const make = (options: Partial<OperationSpec>) =>
    database.transaction((manager) =>
      insertOperation(manager, {
        tenantId: tenant,
        procedure: 'gpio.write',
        kwargs: { pin: 1 },
        target: { selector: 'site' },
        delivery: 'when-online',
        deadlineAt: new Date('2027-01-01T00:00:00.123Z'),
        attempts: 3,
        parallel: false,
        createdBy: 'user:x',
        boards: [],
        ...options,
      }),
    );

  it('are the operation, a target and a turn per board, and what happened', async () => {
    const boards = targets(3);
    const { id, state, events } = await make({ boards });
    expect(state).toBe('active');
    expect(events).toMatchObject([
      { tenantId: tenant, boardUuid: null, type: 'operation', payload: { operation: id, state: 'active' } },
    ]);
    expect(await table('operations', id)).toMatchObject([
      { state: 'active', target_count: 3, max_attempts: 3, pending_boards: null, created_by: 'user:x' },
    ]);
    const found = await table('operation_targets', id);
    expect(found).toHaveLength(3);
    expect(found[0]).toMatchObject({
      queue: 1,
      state: 'queued',
      attempt: 0,
      wave: null,
      safety: 'journaled',
    });
    const [queues] = await connection.query<RowDataPacket[]>(
      'SELECT ready, has_open AS hasOpen FROM board_queues WHERE board_uuid IN (?)',
      [boards.map((each) => each.uuid)],
    );
    expect(queues).toEqual(Array(3).fill({ ready: 1, hasOpen: 1 }));
    expect(await table('operation_events', id)).toMatchObject([{ kind: 'created', board_uuid: null }]);
  });

  it('hold the boards of a rollout back, in waves in the order of the boards', async () => {
    const boards = targets(5);
    const rollout = parseRolloutOptions({ waves: [{ count: 1 }, { percent: 40 }, { count: 1 }] });
    const { id } = await make({ boards, delivery: 'rollout', rollout });
    const found = await table('operation_targets', id);
    const waves = boards.map(({ uuid }) => found.find((each) => each.board_uuid === uuid)?.wave);
    expect(waves).toEqual([1, 2, 2, 3, 3]);
    expect(found.map((each) => each.queue)).toEqual([0, 0, 0, 0, 0]);
    expect(await table('rollouts', id)).toMatchObject([{ state: 'running', wave: 0, waves: 3 }]);
  });

  it('let a rollout wait that is to be approved before it starts', async () => {
    const rollout = parseRolloutOptions({ waves: [{ percent: 100 }], approval: 'start' });
    const { id } = await make({ boards: targets(1), delivery: 'rollout', rollout });
    expect(await table('rollouts', id)).toMatchObject([{ state: 'waiting', wave: 0 }]);
  });

  it('leave many boards to a conductor, in their order', async () => {
    const boards = targets(inlineTargets + 1);
    const { id, state } = await make({ boards });
    expect(state).toBe('preparing');
    const [row] = await table('operations', id);
    expect(row).toMatchObject({ state: 'preparing', target_count: inlineTargets + 1 });
    const pending =
      typeof row?.pending_boards === 'string' ? JSON.parse(row.pending_boards) : row?.pending_boards;
    expect(pending).toEqual(boards.map((each) => each.uuid));
    expect(await table('operation_targets', id)).toEqual([]);
  });

  it('are the same when targets are written again', async () => {
    const boards = targets(2);
    const deadlineAt = new Date('2027-01-01T00:00:00Z');
    const { id } = await make({ boards, deadlineAt });
    const before = await table('operation_targets', id);
    await database.transaction((manager) =>
      insertTargets(
        manager,
        { id, tenantId: tenant, deadlineAt },
        boards.map((each) => ({ ...each, wave: null })),
      ),
    );
    expect(await table('operation_targets', id)).toEqual(before);
  });

  it('are made once for an id that is given', async () => {
    const id = randomUUID();
    await make({ id, boards: targets(1) });
    await expect(make({ id, boards: targets(1) })).rejects.toThrow(/Duplicate/);
  });
});
