/**
 * Leases: rows that give one process the right to do something, for a time, by the database's clock.
 * They are taken by writing (compare-and-set), never by locking reads, so that they also hold on a
 * cluster where only what is written is arbitrated.
 */
import type { EntityManager } from 'typeorm';

interface Changed {
  affectedRows: number;
}

/**
 * Takes or renews a lease. Answers with the fence number while `owner` holds it, undefined when
 * somebody else does. The number rises whenever the holder changes.
 */
export async function holdLease(
  manager: EntityManager,
  name: string,
  owner: string,
  seconds: number,
): Promise<number | undefined> {
  if (!(await takeLease(manager, name, owner, seconds))) {
    // Missing rows are rare; inserting first would lock the row shared and deadlock with the update.
    const rows = (await manager.query('SELECT 1 FROM leases WHERE name = ?', [name])) as unknown[];
    if (rows.length > 0) return undefined;
    await manager.query('INSERT IGNORE INTO leases (name) VALUES (?)', [name]);
    if (!(await takeLease(manager, name, owner, seconds))) return undefined;
  }
  const rows = (await manager.query('SELECT fence FROM leases WHERE name = ? AND owner = ?', [
    name,
    owner,
  ])) as { fence: number }[];
  return rows[0] === undefined ? undefined : Number(rows[0].fence);
}

async function takeLease(
  manager: EntityManager,
  name: string,
  owner: string,
  seconds: number,
): Promise<boolean> {
  const result = (await manager.query(
    `UPDATE leases SET fence = fence + IF(owner <=> ?, 0, 1), owner = ?, until_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND
     WHERE name = ? AND (owner IS NULL OR owner = ? OR until_at < UTC_TIMESTAMP(3))`,
    [owner, owner, seconds, name, owner],
  )) as Changed;
  return result.affectedRows > 0;
}

/**
 * Renews a lease that is still the one taken with `fence`; false when another took it meanwhile.
 * As the first statement of a transaction it fences the transaction: nobody can take the lease
 * between this and the commit. A lease that ran out but that nobody took is still the holder's.
 */
export async function renewLease(
  manager: EntityManager,
  lease: { name: string; owner: string; fence: number },
  seconds: number,
): Promise<boolean> {
  const result = (await manager.query(
    'UPDATE leases SET until_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND WHERE name = ? AND owner = ? AND fence = ?',
    [seconds, lease.name, lease.owner, lease.fence],
  )) as Changed;
  return result.affectedRows > 0;
}

/** Gives a lease back early, at a clean end. */
export async function releaseLease(manager: EntityManager, name: string, owner: string): Promise<void> {
  await manager.query('UPDATE leases SET owner = NULL, until_at = NULL WHERE name = ? AND owner = ?', [
    name,
    owner,
  ]);
}
