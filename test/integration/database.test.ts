/** What the database wrapper promises when servers die, freeze or refuse. */
import type { Connection } from 'mysql2/promise';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../common/db/database.ts';
import { createLogger } from '../../common/runtime/logger.ts';
import { type FaultyProxy, startFaultyProxy } from '../harness/faulty-proxy.ts';
import { createTestDatabase, type TestDatabase } from '../harness/mariadb.ts';

const logger = createLogger('test', 'silent');

let server: TestDatabase;
let first: FaultyProxy;
let second: FaultyProxy;
let database: Database;
let rows: Connection;

beforeEach(async () => {
  server = await createTestDatabase();
  const { hostname, port } = new URL(server.url);
  first = await startFaultyProxy({ host: hostname, port: Number(port) });
  second = await startFaultyProxy({ host: hostname, port: Number(port) });
  const url = server.url.replace(`${hostname}:${port}`, `127.0.0.1:${first.port},127.0.0.1:${second.port}`);
  database = createDatabase({ url, logger, poolSize: 3, queryTimeoutMs: 500 });
  rows = await server.connect();
});

afterEach(async () => {
  await rows.end();
  await database.close();
  await first.close();
  await second.close();
  await server.drop();
});

const insertRouter = (cell: string) =>
  `INSERT INTO routers (cell, created_at) VALUES ('${cell}', UTC_TIMESTAMP(3))`;

async function cells(): Promise<string[]> {
  const [found] = await rows.query('SELECT cell FROM routers ORDER BY cell');
  return (found as { cell: string }[]).map(({ cell }) => cell);
}

describe('database', () => {
  it('moves to the next server when the first is gone, and back when it works again', async () => {
    await database.read((manager) => manager.query('SELECT 1'));
    expect(database.currentNode()).toBe(`127.0.0.1:${first.port}`);
    first.setMode('drop');
    await database.read((manager) => manager.query('SELECT 1'));
    expect(database.currentNode()).toBe(`127.0.0.1:${second.port}`);
    first.setMode('pass');
    await expect
      .poll(
        async () => {
          await database.read((manager) => manager.query('SELECT 1'));
          return database.currentNode();
        },
        { timeout: 10_000 },
      )
      .toBe(`127.0.0.1:${first.port}`);
  });

  it('does not wait for a frozen server longer than its limit', async () => {
    await database.read((manager) => manager.query('SELECT 1'));
    first.setMode('freeze');
    const startedAt = performance.now();
    await database.read((manager) => manager.query('SELECT 1'));
    expect(performance.now() - startedAt).toBeLessThan(4000);
    expect(database.currentNode()).toBe(`127.0.0.1:${second.port}`);
  });

  it('runs a transaction again whose rows changed after it began to read, where the server refuses that', async () => {
    await rows.query(insertRouter('a'));
    let runs = 0;
    await database.transaction(async (manager) => {
      runs += 1;
      // The default of newer servers.
      await manager.query('SET SESSION innodb_snapshot_isolation = ON');
      await manager.query('SELECT cell FROM routers');
      if (runs === 1) await rows.query("UPDATE routers SET connected_at = UTC_TIMESTAMP(3) WHERE cell = 'a'");
      await manager.query("UPDATE routers SET lost_at = UTC_TIMESTAMP(3) WHERE cell = 'a'");
    });
    expect(runs).toBe(2);
  });

  it('runs a transaction again from the start when the connection is lost before its commit', async () => {
    let runs = 0;
    await database.transaction(async (manager) => {
      runs += 1;
      await manager.query(insertRouter('a'));
      if (runs === 1) first.setMode('drop');
      await manager.query(insertRouter('b'));
    });
    expect(runs).toBe(2);
    expect(await cells()).toEqual(['a', 'b']);
  });

  it('rolls back and gives up at once on an error that is final', async () => {
    let runs = 0;
    const work = database.transaction(async (manager) => {
      runs += 1;
      await manager.query(insertRouter('a'));
      await manager.query(insertRouter('a'));
    });
    await expect(work).rejects.toMatchObject({ errno: 1062 });
    expect(runs).toBe(1);
    expect(await cells()).toEqual([]);
  });

  it('repeats the loser of a deadlock', async () => {
    await rows.query(insertRouter('a'));
    await rows.query(insertRouter('b'));
    const touch = (cell: string) => `UPDATE routers SET lost_at = UTC_TIMESTAMP(3) WHERE cell = '${cell}'`;
    let runs = 0;
    const cross = (one: string, other: string) =>
      database.transaction(async (manager) => {
        runs += 1;
        await manager.query(touch(one));
        await new Promise((resolve) => setTimeout(resolve, 150));
        await manager.query(touch(other));
      });
    await Promise.all([cross('a', 'b'), cross('b', 'a')]);
    expect(runs).toBeGreaterThan(2);
  });

  it('says unavailable when no server works', async () => {
    first.setMode('drop');
    second.setMode('drop');
    await expect(
      database.read((manager) => manager.query('SELECT 1'), { deadlineMs: 300 }),
    ).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('does not repeat a transaction whose commit may have happened, unless that is safe', async () => {
    // The link freezes after the last statement, so COMMIT is what is under way.
    const cutAtCommit = (repeatable: boolean) => {
      let runs = 0;
      return database
        .transaction(
          async (manager) => {
            runs += 1;
            // What the frozen link held on to ends, as it would when the server notices.
            if (runs === 2) first.cut();
            await manager.query(
              `INSERT IGNORE INTO routers (cell, created_at) VALUES ('${repeatable}', UTC_TIMESTAMP(3))`,
            );
            if (runs === 1) setImmediate(() => first.setMode('freeze'));
            await new Promise((resolve) => setTimeout(resolve, 50));
          },
          { repeatable, deadlineMs: 5000 },
        )
        .then(
          () => ({ runs, failed: false }),
          () => ({ runs, failed: true }),
        );
    };
    expect(await cutAtCommit(false)).toEqual({ runs: 1, failed: true });
    first.cut();
    first.setMode('pass');
    await new Promise((resolve) => setTimeout(resolve, 2100));
    expect(await cutAtCommit(true)).toEqual({ runs: 2, failed: false });
    expect(await cells()).toContain('true');
  }, 30_000);
});
