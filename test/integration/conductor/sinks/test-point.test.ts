/** `POST /v1/sinks/{sink}/test`, through the api and a conductor to a target of every kind. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type Database } from '../../../../common/db/database.ts';
import { type Sinks, startSinks } from '../../../../conductor/sinks/sinks.ts';
import { startTestApi, type TestApi } from '../../../harness/api.ts';
import { until } from '../../../harness/until.ts';
import { silent } from '../support.ts';
import { sinkConfig } from './delivery-support.ts';
import { type Stand, stands, startStub } from './support.ts';

let api: TestApi;
let database: Database;
let token: string;
let conductors: Sinks[] = [];

beforeAll(async () => {
  api = await startTestApi({ sinks: sinkConfig });
  database = createDatabase({ url: api.databaseUrl, logger: silent });
  const tenant = await api.rows.tenant();
  ({ token } = await api.rows.user({ memberships: { [tenant]: 'admin_iot_project' } }));
});
afterAll(async () => {
  await database?.close();
  await api?.stop();
});

const call = (method: string, path: string, body?: unknown) =>
  api.request(path, { method, token, ...(body !== undefined && { body }) });

async function make(fields: object): Promise<string> {
  const made = await call('POST', '/v1/sinks', { name: `s-${randomUUID()}`, ...fields });
  expect(made.status, made.text).toBe(201);
  return made.body.id;
}

function conduct(dir?: string): void {
  const settings = { lookEveryMs: 50, retry: { baseMs: 120_000, capMs: 120_000 }, timeoutMs: 3000 };
  const config = { ...sinkConfig, dir };
  conductors.push(startSinks({ database, logger: silent, config, conductorId: randomUUID(), settings }));
}
async function rest(): Promise<void> {
  await Promise.all(conductors.map((each) => each.stop(500)));
  conductors = [];
}

async function tryOut(id: string): Promise<void> {
  const tried = await call('POST', `/v1/sinks/${id}/test`);
  expect(tried.status, tried.text).toBe(202);
}
const sinkWhere = (what: string, id: string, holds: (sink: TestApiSink) => boolean) =>
  until(what, async () => {
    const { body } = await call('GET', `/v1/sinks/${id}`);
    return holds(body) && (body as TestApiSink);
  });
// biome-ignore lint/suspicious/noExplicitAny: looked into by expectations
type TestApiSink = any;

describe('the test point of a sink', () => {
  it.each(Object.entries(stands))(
    'arrives at %s, or its sink says why not; it is no reading',
    async (_name, startStand) => {
      const stand: Stand = await startStand();
      try {
        conduct(stand.config.dir);
        const { kind, settings, secrets } = stand;
        const id = await make({ kind, settings, secrets });
        await tryOut(id);
        const sink = await sinkWhere('it is there', id, (each) => each.lastDeliveredAt !== null);
        expect(sink).toMatchObject({ flow: 'flowing', lastError: null });
        expect(await stand.values()).toEqual([1]);
        await stand.down();
        await tryOut(id);
        const failing = await sinkWhere('it fails', id, (each) => each.flow === 'retrying');
        expect(failing.lastError).toMatch(/\w/);
        expect(Date.parse(failing.retryAt)).toBeGreaterThan(Date.now() + 30_000);
        await stand.up();
        // Nobody waits for a minute to see whether it works again.
        await tryOut(id);
        const works = await sinkWhere('it works again', id, (each) => each.flow === 'flowing');
        expect(works.counts).toMatchObject({ received: 0, delivered: 0, rejected: 0, waiting: 0 });
        expect((await call('GET', `/v1/sinks/${id}/dead-letters`)).body.items).toEqual([]);
      } finally {
        await rest();
        await stand.stop();
      }
    },
  );

  it.each([
    ['webhook', 422, 'not this', /^answered 422: "not this"$/],
    ['webhook', 404, 'nobody', /^answered 404: "nobody"$/],
    ['influx', 400, { error: 'unable to parse' }, /^answered 400: .*unable to parse/],
    ['influx', 401, { error: 'authorization failed' }, /^answered 401: .*authorization failed/],
  ] as const)('that a %s answers with %i says so in its words', async (kind, status, body, words) => {
    const stub = await startStub(() => ({ status, body }));
    try {
      conduct();
      const fields = {
        webhook: { settings: { url: stub.url }, secrets: { secret: 'a-secret-of-16-or-more' } },
        influx: { settings: { url: stub.url, database: 'd' } },
      };
      const id = await make({ kind, ...fields[kind] });
      await tryOut(id);
      const sink = await sinkWhere('it failed', id, (each) => each.lastError !== null);
      expect(sink.lastError).toMatch(words);
      expect(sink.lastErrorAt).not.toBeNull();
      expect(sink.lastDeliveredAt).toBeNull();
      expect(sink.counts).toMatchObject({ delivered: 0, rejected: 0 });
    } finally {
      await rest();
      await stub.down();
    }
  });

  it('says that an installation keeps no files, and what is wrong with a sink that rests', async () => {
    conduct();
    try {
      const id = await make({ kind: 'file' });
      await tryOut(id);
      const sink = await sinkWhere('it fails', id, (each) => each.lastError !== null);
      expect(sink.lastError).toBe('this installation keeps no files: BOARDWALK_SINK_DIR is not set');
      await call('POST', `/v1/sinks/${id}/pause`);
      const refused = await call('POST', `/v1/sinks/${id}/test`);
      expect(refused.status).toBe(409);
      expect(refused.body).toMatchObject({ code: 'conflict', detail: 'the sink is paused; resume it first' });
    } finally {
      await rest();
    }
  });
});
