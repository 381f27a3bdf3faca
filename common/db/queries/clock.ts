import type { EntityManager } from 'typeorm';

/**
 * The database's clock, epoch milliseconds. What several processes must agree on (leases, lapses,
 * slots, days) goes by this clock: a process whose own clock jumps then does no harm.
 */
export async function getDatabaseTime(manager: EntityManager): Promise<number> {
  const [row] = (await manager.query('SELECT ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000) AS now')) as {
    now: number | string;
  }[];
  return Number(row?.now);
}
