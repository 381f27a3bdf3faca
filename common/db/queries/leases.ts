/** Leases: rows that give one process the right to do something, for a time. Only written state decides. */
import type { EntityManager } from 'typeorm';

/**
 * Takes or renews a lease by compare-and-set. Answers with the fence number while `owner` holds it,
 * undefined when somebody else does. The number rises whenever the holder changes.
 */
export async function holdLease(
  manager: EntityManager,
  name: string,
  owner: string,
  seconds: number,
): Promise<number | undefined> {
  await manager.query('INSERT IGNORE INTO leases (name) VALUES (?)', [name]);
  await manager.query(
    `UPDATE leases SET fence = fence + IF(owner <=> ?, 0, 1), owner = ?, until_at = UTC_TIMESTAMP(3) + INTERVAL ? SECOND
     WHERE name = ? AND (owner IS NULL OR owner = ? OR until_at < UTC_TIMESTAMP(3))`,
    [owner, owner, seconds, name, owner],
  );
  const rows = (await manager.query(
    'SELECT fence FROM leases WHERE name = ? AND owner = ? AND until_at > UTC_TIMESTAMP(3)',
    [name, owner],
  )) as {
    fence: number;
  }[];
  return rows[0] === undefined ? undefined : Number(rows[0].fence);
}

/** Gives a lease back early, at a clean stop. */
export async function releaseLease(manager: EntityManager, name: string, owner: string): Promise<void> {
  await manager.query('UPDATE leases SET owner = NULL, until_at = NULL WHERE name = ? AND owner = ?', [
    name,
    owner,
  ]);
}
