/** What tenants may use: limits of their own and of the installation, and exactly as many as they say. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../common/db/database.ts';
import { readQuotaLimits, takeOperationPlace } from '../../../common/db/queries/quotas.ts';
import { AppError } from '../../../common/runtime/app-error.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { timeUuid } from '../../../common/runtime/time-uuid.ts';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
let admin: string;
let database: Database;
beforeAll(async () => {
  api = await startTestApi({ quotas: { boards: 3 } });
  admin = (await api.rows.user({ isAdmin: true })).token;
  database = createDatabase({ url: api.databaseUrl, logger: createLogger('test', 'silent') });
});
afterAll(async () => {
  await database?.close();
  await api?.stop();
});

const call = (method: string, path: string, body?: unknown, token = admin) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });

const day = () => Math.floor(Date.now() / 86_400_000);

/** An operation of which only what quotas look at is told. */
async function openOperation(tenant: string, state = 'active'): Promise<void> {
  await api.rows.insert('operations', {
    id: timeUuid(),
    tenant_id: tenant,
    procedure_name: 'ping',
    kwargs: '{}',
    target: '{}',
    delivery: 'now',
    state,
    deadline_at: new Date(),
    created_by: 'test',
    created_at: new Date(),
    updated_at: new Date(),
  });
}

const take = (tenant: string) =>
  database
    .read((manager) => readQuotaLimits(manager, tenant, {}))
    .then((limits) => database.transaction((manager) => takeOperationPlace(manager, tenant, limits)))
    .then(
      () => 'taken',
      (error: unknown) => (error instanceof AppError ? error : Promise.reject(error)),
    );

describe('quotas', () => {
  it('are those of the installation until the tenant has its own, and tell what is used', async () => {
    const tenant = await api.rows.tenant();
    const path = `/v1/tenants/${tenant}/quotas`;
    await api.rows.board(tenant);
    await openOperation(tenant);
    await openOperation(tenant, 'preparing');
    await openOperation(tenant, 'succeeded');
    await api.rows.insert('tenant_usage', { tenant_id: tenant, day: day(), operations: 7, readings: 9 });
    await api.rows.insert('tenant_usage', {
      tenant_id: tenant,
      day: day() - 1,
      operations: 70,
      readings: 90,
    });
    const none = { limit: null, used: 0 };
    expect((await call('GET', path)).body).toEqual({
      boards: { limit: 3, used: 1 },
      schedules: none,
      openOperations: { limit: null, used: 2 },
      operationsPerDay: { limit: null, used: 3 },
      readingsPerDay: { limit: null, used: 9 },
    });
    const set = await call('PUT', path, { boards: 5, readingsPerDay: 0 });
    expect([set.status, set.body.boards, set.body.readingsPerDay]).toEqual([
      200,
      { limit: 5, used: 1 },
      { limit: 0, used: 9 },
    ]);
    const cleared = await call('PUT', path, {});
    expect(cleared.body.boards.limit).toBe(3);
    expect((await call('PUT', path, { boards: -1 })).status).toBe(400);
    expect((await call('PUT', path, { bords: 1 })).status).toBe(400);
  });

  it('let no more boards in than there may be, however many come at once', async () => {
    const tenant = await api.rows.tenant();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => call('POST', '/v1/boards', { name: `b-${index}`, tenant })),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    const refused = answers.find(({ status }) => status !== 201);
    expect(refused?.body).toMatchObject({
      code: 'quota-exceeded',
      status: 403,
      quota: 'boards',
      limit: 3,
      used: 3,
    });
  });

  it('count the operations of a day exactly, and say when the next day begins', async () => {
    const tenant = await api.rows.tenant();
    await call('PUT', `/v1/tenants/${tenant}/quotas`, { operationsPerDay: 4 });
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => take(tenant)));
    expect(outcomes.filter((each) => each === 'taken')).toHaveLength(4);
    const refusal = outcomes.find((each) => each instanceof AppError) as AppError;
    expect(refusal.code).toBe('too-many-requests');
    expect(refusal.details).toMatchObject({ quota: 'operationsPerDay', limit: 4, used: 4 });
    expect(refusal.details.retryAfterSeconds).toBeGreaterThan(0);
    expect(refusal.details.retryAfterSeconds).toBeLessThanOrEqual(86_400);
    const { body } = await call('GET', `/v1/tenants/${tenant}/quotas`);
    expect(body.operationsPerDay).toEqual({ limit: 4, used: 4 });
  });

  it('refuse an operation while too many have not ended', async () => {
    const tenant = await api.rows.tenant();
    await call('PUT', `/v1/tenants/${tenant}/quotas`, { openOperations: 2 });
    await openOperation(tenant);
    expect(await take(tenant)).toBe('taken');
    await openOperation(tenant);
    expect(await take(tenant)).toMatchObject({
      code: 'quota-exceeded',
      details: { quota: 'openOperations', limit: 2, used: 2 },
    });
  });

  it('never count beside the indexes', async () => {
    const tenant = await api.rows.tenant();
    const [plan] = await api.connection.query(
      "EXPLAIN SELECT 1 FROM operations WHERE tenant_id = ? AND state IN ('preparing', 'active') LIMIT 5",
      [tenant],
    );
    expect((plan as { key: string }[])[0]?.key).toBe('ix_operations_state');
  });
});
