/** Where readings of a tenant flow on to. The conductor does the delivery. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { addConsumer, removeConsumer } from '../../common/db/queries/outbox.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import type { JsonObject } from '../../common/runtime/guards.ts';
import { openSinkSecrets, type SinkSecrets, sealSinkSecrets } from '../../common/sinks/secrets.ts';
import {
  parseSinkFilter,
  parseSinkSecrets,
  parseSinkSettings,
  type SinkKind,
  sinkDefaults,
  urlOf,
} from '../../common/sinks/settings.ts';
import type { WakeClient } from '../../common/wake/wake-client.ts';
import { resolveWebhook } from '../../common/webhooks/addresses.ts';
import { tenantForCreation, visibleTenants } from '../access.ts';
import { auditChange, creatorOf } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import type { ApiRequest, HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { insertRow, updateRow } from '../http/versioned-rows.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import { atPointer, fault } from '../operations/operation-request.ts';
import { createLetterHandlers } from './letter-handlers.ts';
import { auditSink, findSink, type OneSink } from './one-sink.ts';
import { clearLetters, listSinkRows, readSinkRow, requireRoom, type SinkRow, toSink } from './sink-rows.ts';

type SinkOperations = 'listSinks' | 'createSink' | OneSink;

const byName = 'name';

export function createSinkHandlers(
  deps: ApiDeps,
  wake: Pick<WakeClient, 'wake'>,
): HandlersOf<SinkOperations> {
  const { database, config } = deps;
  const { key, allowPrivate } = config.sinks;

  /** Outside of transactions: a name may take long to be found. Throws AppError naming `settings.url`. */
  async function checkUrl(kind: SinkKind, settings: object): Promise<void> {
    const url = urlOf(kind, settings as JsonObject);
    try {
      if (url) await resolveWebhook(url, { allowPrivate });
    } catch (cause) {
      if (!(cause instanceof AppError)) throw cause;
      throw fault('/settings/url', cause.message.replace(/^url /, ''));
    }
  }

  async function readSecrets(manager: EntityManager, id: string): Promise<SinkSecrets> {
    const [row] = (await manager.query('SELECT secrets FROM sinks WHERE id = ?', [id])) as {
      secrets: Buffer | null;
    }[];
    return openSinkSecrets(key, id, row?.secrets ?? null);
  }

  async function move(
    request: ApiRequest<'pauseSink' | 'resumeSink'>,
    state: 'active' | 'paused',
  ): Promise<SinkRow> {
    const row = await database.transaction(async (manager) => {
      const { id } = await findSink(manager, request);
      const before = await readSinkRow(manager, id, { lock: true });
      if (before.state === state) return before;
      const fresh = state === 'active' ? { failing_since: null, retry_at: null } : {};
      await updateRow(manager, 'sinks', { id }, { state, state_reason: null, ...fresh });
      await auditSink(manager, request, before, { state });
      return readSinkRow(manager, id);
    });
    wake.wake({ consumers: [row.id] });
    return row;
  }

  return {
    ...createLetterHandlers(deps, wake),

    async listSinks(request) {
      const page = pageRequest(request.query, byName, ['text', 'uuid']);
      const rows = await database.read(async (manager) =>
        listSinkRows(manager, await visibleTenants(manager, request, request.query.tenant), page),
      );
      return { status: 200, body: toPage(rows, page.limit, byName, toSink, (row) => [row.name, row.id]) };
    },

    async createSink(request) {
      const { tenant, name, kind, batchSize, maxAgeMs } = request.body;
      const { settings, secrets, filter } = atPointer(() => {
        const parsed = parseSinkSettings(kind, request.body.settings ?? {});
        return {
          settings: parsed,
          secrets: parseSinkSecrets(kind, parsed, request.body.secrets),
          filter: parseSinkFilter(request.body.filter),
        };
      });
      const tenantId = await database.read((manager) => tenantForCreation(manager, request, tenant));
      await checkUrl(kind, settings);
      return createOnce(database, request, async (manager) => {
        const id = randomUUID();
        await requireRoom(manager, tenantId);
        await addConsumer(manager, { id, tenantId, kind: 'sink' });
        await insertRow(manager, 'sinks', {
          id,
          tenant_id: tenantId,
          name,
          kind,
          settings: JSON.stringify(settings),
          secrets: sealSinkSecrets(key, id, secrets),
          filter: JSON.stringify(filter),
          batch_size: batchSize ?? sinkDefaults.batchSize,
          max_age_ms: maxAgeMs ?? sinkDefaults.maxAgeMs,
          created_by: creatorOf(request.principal),
        });
        await auditChange(manager, request, {
          tenantId,
          targetKind: 'sink',
          target: id,
          detail: { name, kind, host: urlOf(kind, settings as unknown as JsonObject)?.host ?? null },
        });
        const sink = toSink(await readSinkRow(manager, id));
        return {
          status: 201,
          headers: { Location: `/v1/sinks/${id}`, ...versionTag(sink.version) },
          body: sink,
        };
      });
    },

    async getSink(request) {
      const row = await database.read(async (manager) =>
        readSinkRow(manager, (await findSink(manager, request)).id),
      );
      return { status: 200, headers: versionTag(row.version), body: toSink(row) };
    },

    async updateSink(request) {
      const { name, batchSize, maxAgeMs } = request.body;
      const expected = expectedVersion(request);
      const { before, values } = await database.read(async (manager) => {
        const row = await readSinkRow(manager, (await findSink(manager, request)).id);
        const { kind } = row;
        const settings = atPointer(() => parseSinkSettings(kind, request.body.settings ?? row.settings));
        // Those that stay must fit the settings as well.
        const given = request.body.secrets;
        const needsSecrets = given !== undefined || request.body.settings !== undefined;
        if (given === undefined && Number(row.hasSecrets) === 1 && leadsElsewhere(row, settings))
          throw fault('/secrets', 'must be given again, because settings.url leads to another place');
        const wanted = given ?? (needsSecrets ? await readSecrets(manager, row.id) : {});
        const secrets = needsSecrets ? atPointer(() => parseSinkSecrets(kind, settings, wanted)) : {};
        const changed: Record<string, unknown> = {
          ...(name !== undefined && { name }),
          ...(batchSize !== undefined && { batch_size: batchSize }),
          ...(maxAgeMs !== undefined && { max_age_ms: maxAgeMs }),
          ...(request.body.settings !== undefined && { settings: JSON.stringify(settings) }),
          ...(given !== undefined && { secrets: sealSinkSecrets(key, row.id, secrets) }),
          ...(request.body.filter !== undefined && {
            filter: JSON.stringify(atPointer(() => parseSinkFilter(request.body.filter))),
          }),
        };
        return { before: row, values: changed };
      });
      if (request.body.settings !== undefined)
        await checkUrl(before.kind, parseSinkSettings(before.kind, request.body.settings));
      const row = await database.transaction(async (manager) => {
        const current = await readSinkRow(manager, before.id, { lock: true });
        requireVersion(expected, current.version);
        // What was laid over another version than this would undo that one's change.
        requireVersion(before.version, current.version);
        await updateRow(manager, 'sinks', { id: before.id }, { ...values, retry_at: null });
        await auditSink(manager, request, current, {
          fields: Object.keys(request.body).filter((field) => field !== 'version'),
        });
        return readSinkRow(manager, before.id);
      });
      wake.wake({ consumers: [row.id] });
      return { status: 200, headers: versionTag(row.version), body: toSink(row) };
    },

    async deleteSink(request) {
      const { id } = await database.read((manager) => findSink(manager, request));
      await clearLetters(database, id);
      await database.transaction(async (manager) => {
        const row = await readSinkRow(manager, id, { lock: true });
        await manager.query('DELETE FROM sinks WHERE id = ?', [id]);
        await removeConsumer(manager, id);
        await auditSink(manager, request, row, { waiting: row.standing.waiting });
      });
      return { status: 204 };
    },

    async pauseSink(request) {
      const row = await move(request, 'paused');
      return { status: 200, headers: versionTag(row.version), body: toSink(row) };
    },

    async resumeSink(request) {
      const row = await move(request, 'active');
      return { status: 200, headers: versionTag(row.version), body: toSink(row) };
    },
  };
}

/** Whoever can point a sink at a server of his own must not get to know by it what is never shown. */
function leadsElsewhere({ kind, settings }: SinkRow, changed: object): boolean {
  // That one's only signs.
  if (kind === 'webhook') return false;
  const [before, after] = [urlOf(kind, settings), urlOf(kind, changed as JsonObject)];
  return before?.protocol !== after?.protocol || before?.host !== after?.host;
}
