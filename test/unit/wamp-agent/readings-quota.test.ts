import { afterEach, describe, expect, it } from 'vitest';
import type { Database } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { createReadingsQuota, type ReadingsQuota } from '../../../wamp-agent/ingest/readings-quota.ts';
import { until } from '../../harness/until.ts';

const dayMs = 86_400_000;
const noon = Math.floor(1_795_608_000_000 / dayMs) * dayMs + dayMs / 2;
const quotas: ReadingsQuota[] = [];

afterEach(() => Promise.all(quotas.splice(0).map((each) => each.stop())));

/** A database with as much as the two statements need; agents share it. */
function fakeDatabase(limits: Record<string, number> = {}) {
  const readings = new Map<string, number>();
  const fake = { readings, limits, looks: 0, isAway: false };
  const query = async (sql: string, parameters: unknown[]) => {
    if (fake.isAway) throw new Error('database away');
    if (sql.startsWith('INSERT')) {
      for (const [tenant, day, count] of parameters[0] as [string, number, number][])
        readings.set(`${day} ${tenant}`, (readings.get(`${day} ${tenant}`) ?? 0) + count);
      return {};
    }
    fake.looks += 1;
    const [day, tenants] = parameters as [number, string[]];
    return tenants.map((tenantId) => ({
      tenantId,
      quotas: tenantId in limits ? JSON.stringify({ readingsPerDay: limits[tenantId] }) : null,
      readings: readings.get(`${day} ${tenantId}`) ?? null,
    }));
  };
  const run = (work: (manager: unknown) => Promise<unknown>) => work({ query });
  return { fake, database: { read: run, transaction: run } as unknown as Database };
}

function quotaOf(database: Database, readingsPerDay?: number) {
  const clock = { now: noon };
  const made = createReadingsQuota({
    database,
    defaults: readingsPerDay === undefined ? {} : { readingsPerDay },
    logger: createLogger('test', 'silent'),
    intervalMs: 10,
    now: () => clock.now,
  });
  quotas.push(made);
  return { ...made, clock };
}

const refused = (limit: number, retryAfterMs = 60_000) => ({
  code: 'too-many-requests',
  details: { quota: 'readingsPerDay', limit, retryAfterMs },
});

describe('the quota of readings', () => {
  it('refuses when the limit is reached, at once for what this agent stored', async () => {
    const { database } = fakeDatabase({ t: 10 });
    const { check, count } = quotaOf(database);
    await check('t');
    count('t', 6);
    await check('t');
    count('t', 4);
    await expect(check('t')).rejects.toMatchObject(refused(10));
    await check('other');
  });

  it('counts what other agents stored, within moments', async () => {
    const { database, fake } = fakeDatabase({ t: 10 });
    const [one, two] = [quotaOf(database), quotaOf(database)];
    await Promise.all([one.check('t'), two.check('t')]);
    one.count('t', 5);
    two.count('t', 5);
    await until('both know', async () => {
      const answers = await Promise.allSettled([one.check('t'), two.check('t')]);
      return answers.every((each) => each.status === 'rejected');
    });
    expect([...fake.readings.values()]).toEqual([10]);
  });

  it('is the installation’s for tenants without one of their own, and none where there is none', async () => {
    const { database } = fakeDatabase({ own: 100 });
    const limited = quotaOf(database, 3);
    for (const tenant of ['t', 'own']) {
      await limited.check(tenant);
      limited.count(tenant, 50);
    }
    await expect(limited.check('t')).rejects.toMatchObject(refused(3));
    await limited.check('own');
    const free = quotaOf(database);
    free.count('t', 1_000_000);
    await free.check('t');
  });

  it('begins anew at midnight, and says how long that is', async () => {
    const { database, fake } = fakeDatabase({ t: 1 });
    const { check, count, clock } = quotaOf(database);
    clock.now = noon + dayMs / 2 - 5000;
    count('t', 1);
    await expect(check('t')).rejects.toMatchObject(refused(1, 5000));
    clock.now += 5000;
    await check('t');
    await until('yesterday is written', () => fake.readings.size === 1);
    expect([...fake.readings.keys()]).toEqual([`${Math.floor(noon / dayMs)} t`]);
  });

  it('follows a limit that was raised', async () => {
    const { database, fake } = fakeDatabase({ t: 1 });
    const { check, count } = quotaOf(database);
    count('t', 1);
    await expect(check('t')).rejects.toMatchObject(refused(1));
    fake.limits.t = 5;
    await until('it is heard of', () => check('t').then(() => true));
  });

  it('loses no count while the database is away, and writes what is left at the end', async () => {
    const { database, fake } = fakeDatabase();
    const quota = quotaOf(database);
    await quota.check('t');
    fake.isAway = true;
    quota.count('t', 7);
    quota.clock.now += 10;
    await until('it was tried', () => quota.check('t').then(() => true));
    fake.isAway = false;
    quota.count('t', 2);
    await quota.stop();
    expect([...fake.readings.values()]).toEqual([9]);
  });

  it('asks once for many batches of one tenant', async () => {
    const { database, fake } = fakeDatabase();
    const { check } = quotaOf(database);
    await Promise.all([check('t'), check('t'), check('t')]);
    expect(fake.looks).toBe(1);
  });
});
