/** Events reach webhooks: each once into the outbox, signed, again until they are taken, and never where they must not go. */
import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RowDataPacket } from 'mysql2';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { appendEvents } from '../../../common/db/queries/events.ts';
import { sealSecret } from '../../../common/webhooks/secrets.ts';
import type { TaskContext } from '../../../conductor/scheduler.ts';
import { clearExpired } from '../../../conductor/tasks/cleanup.ts';
import { fanOut } from '../../../conductor/webhooks/fan-out.ts';
import { limitOutboxes, maxPending } from '../../../conductor/webhooks/limit-outboxes.ts';
import { createSeenEvents } from '../../../conductor/webhooks/seen-events.ts';
import { type Sender, type SenderSettings, startSender } from '../../../conductor/webhooks/sender.ts';
import { until } from '../../harness/until.ts';
import { createContext, openConductorDatabase, silent } from './support.ts';

const key = 'a-key-of-webhooks';
const secret = 'whsec_of-the-tests';
let db: Awaited<ReturnType<typeof openConductorDatabase>>;
let tenant: string;
const senders: Sender[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  db = await openConductorDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  for (const table of ['webhooks', 'events', 'event_cursors', 'audit_events'])
    await db.connection.query(`DELETE FROM ${table}`);
  tenant = await db.rows.tenant();
});
afterEach(async () => {
  await Promise.all(senders.splice(0).map((each) => each.stop(100)));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

interface Received {
  headers: IncomingMessage['headers'];
  body: string;
  path: string;
}

/** A receiver on loopback. */
async function receive(
  answer: (response: ServerResponse, count: number) => void = (response) => response.writeHead(204).end(),
) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    received.push({
      headers: request.headers,
      body: Buffer.concat(chunks).toString(),
      path: request.url ?? '',
    });
    answer(response, received.length);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
}

async function webhook(url: string, columns: Record<string, unknown> = {}): Promise<string> {
  const id = randomUUID();
  const at = new Date(Date.now() - 60_000);
  await db.connection.query('INSERT INTO webhooks SET ?', [
    {
      id,
      tenant_id: tenant,
      name: id,
      url,
      types: '["operation", "presence"]',
      secret: sealSecret(key, id, secret),
      state: 'active',
      created_by: 'test',
      created_at: at,
      updated_at: at,
      ...columns,
    },
  ]);
  return id;
}

async function delivery(webhookId: string, columns: Record<string, unknown> = {}): Promise<number> {
  const [result] = await db.connection.query('INSERT INTO webhook_deliveries SET ?', [
    {
      webhook_id: webhookId,
      event_id: Math.floor(Math.random() * 1e12),
      type: 'operation',
      payload: JSON.stringify({
        id: '1',
        type: 'operation',
        tenant,
        at: new Date().toISOString(),
        data: { a: 1 },
      }),
      state: 'pending',
      next_at: new Date(Date.now() - 1000),
      give_up_at: new Date(Date.now() + 86_400_000),
      created_at: new Date(),
      ...columns,
    },
  ]);
  return (result as { insertId: number }).insertId;
}

function send(
  settings: Partial<SenderSettings> = {},
  options: { allowPrivate?: boolean; now?: () => Promise<number> } = {},
): Sender {
  const { allowPrivate = true, now } = options;
  const sender = startSender({
    database: db.database,
    logger: silent,
    webhooks: { key, allowPrivate },
    settings: { lookEveryMs: 50, retry: { baseMs: 1, capMs: 1 }, ...settings },
    ...(now && { now }),
  });
  senders.push(sender);
  return sender;
}

async function rows(sql: string, parameters: unknown[] = []): Promise<RowDataPacket[]> {
  const [found] = await db.connection.query<RowDataPacket[]>(sql, parameters);
  return found;
}
const deliveryOf = async (id: number) =>
  (await rows('SELECT * FROM webhook_deliveries WHERE id = ?', [id]))[0];
const webhookOf = async (id: string) => (await rows('SELECT * FROM webhooks WHERE id = ?', [id]))[0];
const ended = (id: number, state: string) =>
  until(`the delivery is ${state}`, async () => {
    const row = await deliveryOf(id);
    return row?.state === state && row;
  });

describe('an outbox', () => {
  const run = (context: TaskContext = createContext(db.database), seen = createSeenEvents()) =>
    fanOut(context, { onAdded: () => undefined, seen });
  const happen = (type: string, tenantId = tenant, count = 1) =>
    db.database.transaction((manager) =>
      appendEvents(
        manager,
        Array.from({ length: count }, (_, index) => ({
          tenantId,
          boardUuid: null,
          type,
          payload: { index },
        })),
      ),
    );
  const outbox = (id: string) =>
    rows('SELECT event_id, type, payload FROM webhook_deliveries WHERE webhook_id = ? ORDER BY id', [id]);

  beforeEach(async () => {
    await run();
  });

  it('is filled in small transactions, however many webhooks want the same events', async () => {
    for (let index = 0; index < 12; index += 1) await webhook('http://1.1.1.1/', { types: '["operation"]' });
    await happen('operation', tenant, 900);
    const sizes: number[] = [];
    const context = createContext(db.database);
    const write: TaskContext['write'] = async (work, options) => {
      const result = await context.write(work, options);
      sizes.push(Number(result));
      return result;
    };
    expect(await run({ ...context, write })).toMatchObject({ added: 10_800, complete: true });
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4000);
    expect(await run()).toMatchObject({ added: 0 });
  });

  it('gets the events of its tenant and its types, as they are posted', async () => {
    const id = await webhook('http://1.1.1.1/', { types: '["operation"]' });
    const off = await webhook('http://1.1.1.1/', { state: 'disabled' });
    await happen('operation');
    await happen('presence');
    await happen('operation', await db.rows.tenant());
    expect(await run()).toMatchObject({ added: 1, complete: true });
    const [row] = await outbox(id);
    const [event] = await rows(
      "SELECT id, created_at FROM events WHERE tenant_id = ? AND type = 'operation'",
      [tenant],
    );
    expect(row?.event_id).toBe(event?.id);
    const payload = typeof row?.payload === 'string' ? JSON.parse(row.payload) : row?.payload;
    expect(payload).toEqual({
      id: String(event?.id),
      type: 'operation',
      tenant,
      at: new Date(event?.created_at as Date).toISOString(),
      data: { index: 0 },
    });
    expect(await outbox(off)).toEqual([]);
  });

  it('gets each event once, however many look, and again after a kill', async () => {
    const id = await webhook('http://1.1.1.1/');
    await happen('operation', tenant, 300);
    const dying: TaskContext = {
      ...createContext(db.database),
      write: (work) =>
        db.database.transaction(async (manager) => {
          await work(manager);
          throw new Error('killed before the commit');
        }),
    };
    await expect(run(dying)).rejects.toThrow('killed');
    expect(await outbox(id)).toEqual([]);
    await Promise.all([run(), run(), run()]);
    await run();
    expect(await outbox(id)).toHaveLength(300);
  });

  it('gets what showed late, and nothing that happened before it was there', async () => {
    await happen('operation');
    await run();
    const id = await webhook('http://1.1.1.1/', { created_at: new Date(Date.now() + 5) });
    await run();
    expect(await outbox(id)).toEqual([]);
    // Its row was written four seconds ago and is committed only now.
    await db.connection.query('UPDATE webhooks SET created_at = ? WHERE id = ?', [
      new Date(Date.now() - 60_000),
      id,
    ]);
    await db.connection.query('DELETE FROM events');
    await run();
    await db.connection.query(
      `INSERT INTO events (tenant_id, type, payload, created_at)
       VALUES (?, 'operation', '{}', UTC_TIMESTAMP(3) - INTERVAL 4 SECOND)`,
      [tenant],
    );
    expect(await run()).toMatchObject({ added: 1 });
  });

  it('catches up after hours, page by page, and no event is cleared before', async () => {
    const id = await webhook('http://1.1.1.1/', { created_at: new Date(Date.now() - 200 * 3_600_000) });
    await db.connection.query('UPDATE event_cursors SET read_until = UTC_TIMESTAMP(3) - INTERVAL 30 HOUR');
    await db.connection.query(
      `INSERT INTO events (tenant_id, type, payload, created_at)
       SELECT ?, 'operation', '{}', UTC_TIMESTAMP(3) - INTERVAL 29 HOUR FROM seq_1_to_2500`,
      [tenant],
    );
    const rules = { retentionDays: 400, auditDays: 400, alarmDays: 90 };
    await clearExpired(createContext(db.database), rules);
    expect(await run()).toMatchObject({ added: 2500, complete: true });
    expect(await outbox(id)).toHaveLength(2500);
    await clearExpired(createContext(db.database), rules);
    expect(await db.value('SELECT COUNT(*) FROM events')).toBe(0);
  });

  it('costs no rows while nothing happens', async () => {
    await webhook('http://1.1.1.1/');
    const before = await rows('SELECT * FROM event_cursors');
    expect(await run()).toEqual({ events: 0, added: 0, complete: true });
    expect(await rows('SELECT * FROM event_cursors')).toEqual(before);
  });
});

describe('a delivery', () => {
  it('is posted with a signature that the receiver can check', async () => {
    const { received, url } = await receive();
    const id = await delivery(await webhook(url));
    send();
    const row = await ended(id, 'delivered');
    expect(row).toMatchObject({ attempts: 1, status: 204, error: null, next_at: null });
    expect(received).toHaveLength(1);
    const { headers, body, path } = received[0] as Received;
    expect(path).toBe('/hook');
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'boardwalk-delivery': String(id),
      'boardwalk-event': 'operation',
    });
    const [, seconds, digest] =
      /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['boardwalk-signature'])) ?? [];
    expect(digest).toBe(createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex'));
    expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(10);
    expect(JSON.parse(body)).toMatchObject({ type: 'operation', tenant, data: { a: 1 } });
  });

  it('is posted again until it is taken, under the same id, and the webhook counts as working then', async () => {
    const { received, url } = await receive((response, count) =>
      response.writeHead(count < 3 ? 500 : 200).end(count < 3 ? 'not\n now' : 'ok'),
    );
    const hook = await webhook(url);
    const id = await delivery(hook);
    send();
    await until('it failed', async () => {
      const row = await deliveryOf(id);
      return row?.error === 'answered 500: not now' && (await webhookOf(hook))?.failing_since;
    });
    const row = await ended(id, 'delivered');
    expect(row).toMatchObject({ attempts: 3, status: 200 });
    expect(new Set(received.map(({ headers }) => headers['boardwalk-delivery']))).toEqual(
      new Set([String(id)]),
    );
    expect((await webhookOf(hook))?.failing_since).toBeNull();
  });

  it('follows no redirect', async () => {
    const there = await receive();
    const here = await receive((response) => response.writeHead(302, { location: there.url }).end());
    const id = await delivery(await webhook(here.url));
    send({ retry: { baseMs: 60_000, capMs: 60_000 } });
    await until('it was refused', async () => (await deliveryOf(id))?.status === 302);
    expect(there.received).toEqual([]);
  });

  it('is given a time, and reads little of an answer without an end', async () => {
    const silentOne = await receive(() => undefined);
    const endless = await receive((response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('x'.repeat(64 * 1024)), 1);
      response.once('close', () => clearInterval(timer));
    });
    const waiting = await delivery(await webhook(silentOne.url));
    const taken = await delivery(await webhook(endless.url));
    send({ timeoutMs: 300, retry: { baseMs: 60_000, capMs: 60_000 } });
    await ended(taken, 'delivered');
    const row = await until('it was given up', async () => {
      const found = await deliveryOf(waiting);
      return found?.error && found;
    });
    expect(row).toMatchObject({ state: 'pending', status: null, error: 'no answer within 0.3 s' });
  });

  it('is sent by one of several conductors', async () => {
    const { received, url } = await receive();
    const hook = await webhook(url);
    const ids = await Promise.all(Array.from({ length: 40 }, () => delivery(hook)));
    for (let index = 0; index < 3; index += 1) send();
    for (const id of ids) await ended(id, 'delivered');
    expect(
      received.map(({ headers }) => Number(headers['boardwalk-delivery'])).sort((a, b) => a - b),
    ).toEqual([...ids].sort((a, b) => a - b));
  });

  it('that somebody took and died with is sent when its time is over', async () => {
    const { url } = await receive();
    const id = await delivery(await webhook(url), { attempts: 1, next_at: new Date(Date.now() + 400) });
    send();
    expect(await ended(id, 'delivered')).toMatchObject({ attempts: 2 });
  });

  it('is held by no webhook that does not answer, and none takes all places', async () => {
    let atOnce = 0;
    let most = 0;
    const slow = await receive(() => {
      atOnce += 1;
      most = Math.max(most, atOnce);
    });
    const quick = await receive();
    const hook = await webhook(slow.url);
    for (let index = 0; index < 20; index += 1)
      await delivery(hook, { next_at: new Date(Date.now() - 60_000) });
    send({ inFlight: 8, inFlightPerWebhook: 2, timeoutMs: 5000 });
    await until('it is called', () => atOnce === 2);
    await ended(await delivery(await webhook(quick.url)), 'delivered');
    expect(most).toBe(2);
  });

  it('of a disabled webhook waits, and goes on when it is enabled', async () => {
    const { received, url } = await receive();
    const hook = await webhook(url, { state: 'disabled' });
    const id = await delivery(hook);
    send();
    await ended(await delivery(await webhook(url)), 'delivered');
    expect(received).toHaveLength(1);
    expect((await deliveryOf(id))?.state).toBe('pending');
    await db.connection.query("UPDATE webhooks SET state = 'active' WHERE id = ?", [hook]);
    await ended(id, 'delivered');
  });

  it('is given up after its day', async () => {
    const { url } = await receive((response) => response.writeHead(503).end());
    const id = await delivery(await webhook(url), { give_up_at: new Date(Date.now() + 500) });
    send();
    expect(await ended(id, 'failed')).toMatchObject({ status: 503, next_at: null });
  });

  it('whose secret cannot be read says so', async () => {
    const { received, url } = await receive();
    const id = await delivery(await webhook(url, { secret: sealSecret('another-key', 'x', secret) }));
    send({ retry: { baseMs: 60_000, capMs: 60_000 } });
    await until('it failed', async () => (await deliveryOf(id))?.error?.includes('secret cannot be read'));
    expect(received).toEqual([]);
  });
});

describe('a webhook that only fails', () => {
  it('is disabled after three days, which its tenant can see', async () => {
    const { received, url } = await receive((response) => response.writeHead(500).end());
    const hook = await webhook(url);
    const id = await delivery(hook, { give_up_at: new Date(Date.now() + 30 * 86_400_000) });
    let days = 0;
    send({}, { now: async () => Date.now() + days * 86_400_000 });
    await until('it fails', async () => (await webhookOf(hook))?.failing_since);
    days = 2;
    const before = received.length;
    await until('it is tried on', () => received.length > before + 1);
    expect((await webhookOf(hook))?.state).toBe('active');
    days = 4;
    const row = await until('it is disabled', async () => {
      const found = await webhookOf(hook);
      return found?.state === 'disabled' && found;
    });
    expect(row.disabled_reason).toContain('answered 500');
    expect((await deliveryOf(id))?.state).toBe('pending');
    expect(await rows('SELECT tenant_id, actor_kind, action, target FROM audit_events')).toEqual([
      { tenant_id: tenant, actor_kind: 'process', action: 'disableWebhook', target: hook },
    ]);
  });
});

describe('a webhook whose outbox only grows', () => {
  it('is disabled before it holds without end, and others are not', async () => {
    const [full, other] = [await webhook('http://1.1.1.1/'), await webhook('http://1.1.1.1/')];
    await delivery(other);
    await db.connection.query(
      `INSERT INTO webhook_deliveries (webhook_id, event_id, type, payload, state, next_at, give_up_at, created_at)
       SELECT ?, seq, 'operation', '{}', 'pending', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)
       FROM seq_1_to_${maxPending}`,
      [full],
    );
    expect(await limitOutboxes(createContext(db.database))).toEqual({ disabled: 1 });
    expect(await webhookOf(full)).toMatchObject({ state: 'disabled' });
    expect((await webhookOf(full))?.disabled_reason).toContain('wait');
    expect(await webhookOf(other)).toMatchObject({ state: 'active' });
    expect(await db.value("SELECT COUNT(*) FROM audit_events WHERE action = 'disableWebhook'")).toBe(1);
  });
});

describe('an address that is not for webhooks', () => {
  it.each(['127.0.0.1', 'localhost'])('is never called: %s', async (host) => {
    const { received, url } = await receive();
    const id = await delivery(await webhook(url.replace('127.0.0.1', host)));
    send({ retry: { baseMs: 60_000, capMs: 60_000 } }, { allowPrivate: false });
    const row = await until('it was refused', async () => {
      const found = await deliveryOf(id);
      return found?.error && found;
    });
    expect(row).toMatchObject({ state: 'pending', status: null });
    expect(row.error).toContain('private');
    expect(received).toEqual([]);
  });
});
