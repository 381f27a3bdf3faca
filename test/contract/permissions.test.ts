/**
 * Who may do what, cell by cell, against a running api. The matrix here is written by hand: it is
 * what was decided, the table in the code is only how it is done.
 */
import { randomUUID } from 'node:crypto';
import type { RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { permissions } from '../../api/http/permissions.ts';
import { listOperations, loadOpenapiDocument } from '../../api/openapi-document.ts';
import { operatingRoles } from '../../common/db/roles.ts';
import {
  type Answer,
  type RequestOptions,
  startTestApi,
  type TestApi,
  testPassword,
} from '../harness/api.ts';

const columns = [
  'anonymous',
  'nobody',
  'user_iot',
  'manager_iot_project',
  'admin_iot_project',
  'admin',
  'key user_iot',
  'key manager_iot_project',
  'key admin_iot_project',
  'key of one board',
] as const;
type Column = (typeof columns)[number];

/** One sign per column: + may, - may not. */
const matrix: Record<string, string> = {
  login: '+ +++++ ++++',
  logout: '- +++++ ----',
  getMe: '- +++++ ++++',
  updateMe: '- +++++ ----',
  listUsers: '- ----+ ----',
  createUser: '- ----+ ----',
  getUser: '- ----+ ----',
  updateUser: '- ----+ ----',
  deleteUser: '- ----+ ----',
  listTenants: '- +++++ ++++',
  createTenant: '- ----+ ----',
  getTenant: '- -++++ ++++',
  updateTenant: '- ---++ --+-',
  deleteTenant: '- ----+ ----',
  listMembers: '- --+++ -++-',
  setMember: '- ---++ ----',
  removeMember: '- ---++ ----',
  listApiKeys: '- ---++ ----',
  createApiKey: '- ---++ ----',
  getApiKey: '- ---++ ----',
  revokeApiKey: '- ---++ ----',
  getTenantFlow: '- -++++ +++-',
  getQuotas: '- --+++ -++-',
  setQuotas: '- ----+ ----',
  listWebhooks: '- ---++ --+-',
  createWebhook: '- ---++ --+-',
  getWebhook: '- ---++ --+-',
  updateWebhook: '- ---++ --+-',
  deleteWebhook: '- ---++ --+-',
  renewWebhookSecret: '- ---++ --+-',
  testWebhook: '- ---++ --+-',
  listWebhookDeliveries: '- ---++ --+-',
  redeliverWebhook: '- ---++ --+-',
  listTenantAuditEvents: '- ---++ --+-',
  listAuditEvents: '- ----+ ----',
  listFleets: '- -++++ +++-',
  createFleet: '- --+++ -++-',
  getFleet: '- -++++ +++-',
  updateFleet: '- --+++ -++-',
  deleteFleet: '- --+++ -++-',
  addFleetBoard: '- --+++ -++-',
  removeFleetBoard: '- --+++ -++-',
  listSchedules: '- -++++ +++-',
  createSchedule: '- --+++ -++-',
  getSchedule: '- -++++ +++-',
  updateSchedule: '- --+++ -++-',
  deleteSchedule: '- --+++ -++-',
  pauseSchedule: '- --+++ -++-',
  resumeSchedule: '- --+++ -++-',
  listScheduleRuns: '- -++++ +++-',
  listAlarmRules: '- -++++ +++-',
  createAlarmRule: '- --+++ -++-',
  getAlarmRule: '- -++++ +++-',
  updateAlarmRule: '- --+++ -++-',
  deleteAlarmRule: '- --+++ -++-',
  listSinks: '- --+++ -++-',
  createSink: '- ---++ --+-',
  getSink: '- --+++ -++-',
  updateSink: '- ---++ --+-',
  deleteSink: '- ---++ --+-',
  pauseSink: '- --+++ -++-',
  resumeSink: '- --+++ -++-',
  testSink: '- --+++ -++-',
  listSinkDeadLetters: '- --+++ -++-',
  replaySinkDeadLetters: '- --+++ -++-',
  dropSinkDeadLetters: '- ---++ --+-',
  listAlarms: '- -++++ ++++',
  getAlarm: '- -++++ ++++',
  acknowledgeAlarm: '- --+++ -+++',
  listBoards: '- -++++ ++++',
  createBoard: '- ---++ --+-',
  countBoards: '- -++++ ++++',
  listBoardPositions: '- -++++ ++++',
  getBoard: '- -++++ ++++',
  updateBoard: '- --+++ -+++',
  deleteBoard: '- ---++ --++',
  createEnrolmentCode: '- ---++ --++',
  revokeBoard: '- ---++ --++',
  reinstateBoard: '- ---++ --++',
  listBoardSessions: '- -++++ ++++',
  listProcedures: '- -++++ ++++',
  callProcedure: '- --+++ -+++',
  listModules: '- -++++ ++++',
  createModule: '- --+++ -+++',
  clearQuarantine: '- --+++ -+++',
  getModule: '- -++++ ++++',
  updateModule: '- --+++ -+++',
  deleteModule: '- --+++ -+++',
  listTenantModules: '- -++++ +++-',
  listSources: '- -++++ ++++',
  listStreams: '- -++++ ++++',
  getReadings: '- -++++ ++++',
  getBoardFlow: '- -++++ ++++',
  getCompleteness: '- -++++ ++++',
  listOperations: '- -++++ ++++',
  createOperation: '- --+++ -+++',
  planOperation: '- --+++ -+++',
  getOperation: '- -++++ ++++',
  listOperationTargets: '- -++++ ++++',
  getOperationTimeline: '- -++++ ++++',
  listArtifacts: '- -++++ ++++',
  getArtifact: '- -++++ ++++',
  downloadArtifact: '- -++++ ++++',
  cancelOperation: '- --+++ -+++',
  retryOperation: '- --+++ -+++',
  resolveOperation: '- --+++ -+++',
  pauseOperation: '- --+++ -+++',
  resumeOperation: '- --+++ -+++',
  approveOperation: '- --+++ -+++',
  streamEvents: '- -++++ ++++',
  getOpenapi: '+ +++++ ++++',
  getHealth: '+ +++++ ++++',
  getReadiness: '+ +++++ ++++',
  getMetrics: '+ +++++ ++++',
};

/** Bodies that are valid, so that only the permission decides. */
const bodies: Record<string, (target: Target) => unknown> = {
  login: () => ({ username: 'x', password: 'y' }),
  updateMe: () => ({ displayName: 'Me' }),
  createUser: ({ unique }) => ({ username: `u-${unique}`, password: testPassword }),
  updateUser: () => ({ displayName: 'X' }),
  createTenant: ({ unique }) => ({ name: `t-${unique}` }),
  updateTenant: () => ({}),
  setMember: () => ({ role: 'user_iot' }),
  createApiKey: ({ unique }) => ({ name: `k-${unique}`, role: 'user_iot' }),
  setQuotas: () => ({ boards: 10_000 }),
  createWebhook: ({ unique }) => ({ name: `w-${unique}`, url: 'https://1.1.1.1/', types: ['operation'] }),
  updateWebhook: () => ({}),
  createFleet: ({ unique, tenant }) => ({ name: `f-${unique}`, tenant }),
  updateFleet: () => ({}),
  createSchedule: ({ unique, tenant, board }) => ({
    name: `s-${unique}`,
    tenant,
    timing: { cron: '0 3 * * *' },
    operation: { procedure: 'ping', target: { boards: [board] } },
  }),
  updateSchedule: () => ({}),
  createAlarmRule: ({ unique, tenant }) => ({
    name: `r-${unique}`,
    tenant,
    stream: 'a/b',
    condition: { above: { threshold: 1 } },
  }),
  updateAlarmRule: () => ({}),
  createSink: ({ unique, tenant }) => ({ name: `sink-${unique}`, tenant, kind: 'file' }),
  updateSink: () => ({}),
  replaySinkDeadLetters: () => ({}),
  createBoard: ({ unique, tenant }) => ({ name: `b-${unique}`, tenant }),
  updateBoard: () => ({}),
  createModule: ({ unique }) => ({ name: `m-${unique}` }),
  updateModule: () => ({}),
  callProcedure: () => ({}),
  createOperation: operationOn,
  planOperation: operationOn,
};

function operationOn({ board, tenant }: Target): unknown {
  return { procedure: 'ping', target: { boards: [board] }, delivery: 'when-online', tenant };
}

interface Target {
  unique: number;
  tenant: string;
  board: string;
  user: string;
  apiKey: string;
  fleet: string;
  schedule: string;
  rule: string;
  alarm: string;
  sink: string;
  module: string;
  webhook: string;
  delivery: string;
  operation: string;
}

/** Sent with POST, and yet no change; a call that reached no board is none either. */
const changeNothing = ['callProcedure', 'planOperation'];

const operations = listOperations(loadOpenapiDocument());

let api: TestApi;
let tenant: string;
let unique = 0;
beforeAll(async () => {
  api = await startTestApi();
  tenant = await api.rows.tenant();
});
afterAll(async () => api?.stop());

const callers = new Map<Column, Promise<string>>();

/** One caller per column; where an operation would use it up, one of its own for the cell. */
function tokenOf(column: Column, operationId: string, target: Target): Promise<string> | undefined {
  if (column === 'anonymous') return undefined;
  if (column === 'key of one board')
    return api.rows.key(target.tenant, { boards: [target.board] }).then((key) => key.token);
  const known = operationId === 'logout' ? undefined : callers.get(column);
  const token = known ?? makeCaller(column);
  if (operationId !== 'logout') callers.set(column, token);
  return token;
}

async function makeCaller(column: Exclude<Column, 'anonymous' | 'key of one board'>): Promise<string> {
  switch (column) {
    case 'nobody':
      return (await api.rows.user()).token;
    case 'admin':
      return (await api.rows.user({ isAdmin: true })).token;
    case 'user_iot':
    case 'manager_iot_project':
    case 'admin_iot_project':
      return (await api.rows.user({ memberships: { [tenant]: column } })).token;
    default: {
      const role = column.replace('key ', '') as 'user_iot' | 'manager_iot_project' | 'admin_iot_project';
      return (await api.rows.key(tenant, { role })).token;
    }
  }
}

async function makeTarget(operationId: string): Promise<Target> {
  unique += 1;
  const own = operationId === 'deleteTenant' ? await api.rows.tenant() : tenant;
  // A tenant with boards is not deleted.
  const board =
    operationId === 'deleteTenant'
      ? ''
      : await api.rows.board(own, {
          status: operationId === 'reinstateBoard' ? 'revoked' : 'registered',
        });
  const needsUser = ['getUser', 'updateUser', 'deleteUser', 'setMember', 'removeMember'].includes(
    operationId,
  );
  const user = needsUser ? (await api.rows.user({ memberships: { [own]: 'user_iot' } })).id : '';
  const apiKey = /ApiKey$/.test(operationId) ? (await api.rows.key(own)).id : '';
  const fleet = /Fleet/.test(operationId) ? await makeFleet(own) : '';
  const operation = operationPath.test(operationId) ? await makeOperation(own, board, operationId) : '';
  const schedule = /Schedule(Runs)?$/.test(operationId) ? await makeSchedule(own, board) : '';
  const rule = /AlarmRule$/.test(operationId) ? await makeAlarmRule(own) : '';
  const sink = /(get|update|delete|pause|resume|test)Sink$|SinkDeadLetters$/.test(operationId)
    ? await makeSink(own, operationId === 'resumeSink' ? 'paused' : 'active')
    : '';
  const alarm = /Alarm$/.test(operationId) ? await makeAlarm(own, board) : '';
  const module = /Module$/.test(operationId) ? await makeModule(own, board) : '';
  const { webhook, delivery } = /webhook/i.test(operationId)
    ? await makeWebhook(own)
    : { webhook: '', delivery: '' };
  return {
    unique,
    tenant: own,
    board,
    user,
    apiKey,
    fleet,
    operation,
    schedule,
    rule,
    alarm,
    sink,
    module,
    webhook,
    delivery,
  };
}

async function makeModule(tenantId: string, board: string): Promise<string> {
  const made = { created_at: new Date(), updated_at: new Date() };
  await api.rows.insert('modules', {
    board_uuid: board,
    tenant_id: tenantId,
    name: 'n1',
    origin: 'discovered',
    state: 'quarantined',
    ...made,
  });
  return 'n1';
}

/** With a delivery that was given up. */
async function makeWebhook(tenantId: string): Promise<{ webhook: string; delivery: string }> {
  const webhook = randomUUID();
  const now = new Date();
  await api.rows.insert('webhooks', {
    id: webhook,
    tenant_id: tenantId,
    name: webhook.slice(0, 18),
    url: 'https://1.1.1.1/',
    types: '["operation"]',
    secret: Buffer.from('sealed'),
    state: 'active',
    created_by: 'test',
    created_at: now,
    updated_at: now,
  });
  const [delivery] = await api.rows.insert('webhook_deliveries', {
    webhook_id: webhook,
    event_id: 1,
    type: 'operation',
    payload: '{}',
    state: 'failed',
    give_up_at: now,
    created_at: now,
  });
  return { webhook, delivery: String(delivery.insertId) };
}

async function makeSchedule(tenant: string, board: string): Promise<string> {
  const body = {
    name: `schedule-${randomUUID().slice(0, 18)}`,
    timing: { cron: '0 3 * * *' },
    operation: { procedure: 'ping', target: { boards: [board] } },
  };
  return (await api.request('/v1/schedules', { token: (await api.rows.key(tenant)).token, body })).body.id;
}

async function makeAlarmRule(tenant: string): Promise<string> {
  const body = {
    name: `rule-${randomUUID().slice(0, 18)}`,
    stream: 'a/b',
    condition: { above: { threshold: 1 } },
  };
  return (await api.request('/v1/alarm-rules', { token: (await api.rows.key(tenant)).token, body })).body.id;
}

/** By hand: more than a tenant may make. */
async function makeSink(tenantId: string, state: 'active' | 'paused'): Promise<string> {
  const id = randomUUID();
  const now = new Date();
  await api.rows.insert('reading_consumers', { id, tenant_id: tenantId, kind: 'sink', created_at: now });
  await api.rows.insert('sinks', {
    id,
    tenant_id: tenantId,
    name: id,
    kind: 'file',
    settings: '{"name":"readings","maxMegabytes":64,"files":10}',
    filter: '{}',
    batch_size: 10,
    max_age_ms: 2000,
    state,
    created_by: 'test',
    created_at: now,
    updated_at: now,
  });
  return id;
}

async function makeAlarm(tenantId: string, board: string): Promise<string> {
  const id = randomUUID();
  await api.rows.insert('alarms', {
    id,
    tenant_id: tenantId,
    rule_id: randomUUID(),
    rule_name: 'too hot',
    revision: 1,
    severity: 'warning',
    board_uuid: board,
    board_name: 'gw',
    stream_id: 1,
    stream: 'a/b',
    open: 1,
    state: 'raised',
    since: 1,
    raised_at: new Date(),
    evidence: '{}',
  });
  return id;
}

async function makeFleet(tenantId: string): Promise<string> {
  const id = randomUUID();
  const now = new Date();
  await api.rows.insert('fleets', {
    id,
    tenant_id: tenantId,
    name: `fleet-${unique}-${id.slice(0, 8)}`,
    created_by: 'test',
    created_at: now,
    updated_at: now,
  });
  return id;
}

const operationPath = /(Operation(Targets|Timeline)?|listArtifacts)$/;

/** What it takes for a change of an operation to be possible. */
const standings: Record<string, { target?: string; rollout?: string }> = {
  retryOperation: { target: 'failed' },
  resolveOperation: { target: 'unknown' },
  pauseOperation: { rollout: 'running' },
  resumeOperation: { rollout: 'paused' },
  approveOperation: { rollout: 'waiting' },
};

async function makeOperation(tenantId: string, board: string, operationId: string): Promise<string> {
  const { token } = await api.rows.key(tenantId);
  const { body } = await api.request('/v1/operations', {
    token,
    body: { procedure: 'ping', target: { boards: [board] }, delivery: 'when-online' },
  });
  const id = body.id as string;
  const { target, rollout } = standings[operationId] ?? {};
  if (target !== undefined)
    await api.connection.query(
      'UPDATE operation_targets SET state = ?, queue = NULL WHERE operation_id = ?',
      [target, id],
    );
  if (rollout !== undefined) {
    const now = new Date();
    await api.connection.query("UPDATE operations SET delivery = 'rollout' WHERE id = ?", [id]);
    await api.rows.insert('rollouts', {
      operation_id: id,
      tenant_id: tenantId,
      state: rollout,
      options: '{}',
      waves: 2,
      created_at: now,
      updated_at: now,
    });
  }
  return id;
}

/** What a request cannot be without. */
const queries: Record<string, string> = {
  getReadings: '?stream=system/load',
  clearQuarantine: '?state=quarantined',
};

async function call(operationId: string, column: Column): Promise<Answer> {
  const operation = operations.find((each) => each.operationId === operationId);
  if (!operation) throw new Error(`no such operation: ${operationId}`);
  const target = await makeTarget(operationId);
  const places: Record<string, string> = { ...target, unique: '', procedure: 'ping', artifact: randomUUID() };
  const path = operation.path.replaceAll(/\{(\w+)\}/g, (_whole, name: string) => places[name] ?? '');
  const token = await tokenOf(column, operationId, target);
  const body = bodies[operationId]?.(target);
  const query = queries[operationId] ?? '';
  const options: RequestOptions = {
    method: operation.method.toUpperCase(),
    ...(token !== undefined && { token }),
    ...(body !== undefined && { body }),
  };
  return operationId === 'streamEvents' ? openStream(path, token) : api.request(path + query, options);
}

/** An allowed one never ends by itself. */
async function openStream(path: string, token: string | undefined): Promise<Answer> {
  const abort = new AbortController();
  const response = await fetch(api.url + path, {
    signal: abort.signal,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  });
  const body: unknown = response.ok ? undefined : await response.json();
  abort.abort();
  return { status: response.status, headers: response.headers, text: '', body };
}

describe('the table of permissions', () => {
  it('is decided for every operation of the contract', () => {
    const ids = operations.map((each) => each.operationId as string);
    expect(Object.keys(matrix).sort()).toEqual(ids.sort());
  });

  describe.each(Object.entries(matrix))('%s', (operationId, signs) => {
    const cells = signs.replaceAll(' ', '');

    it('is allowed and refused as decided, role by role', async () => {
      const seen: Record<string, string> = {};
      const expected: Record<string, string> = {};
      const answers = await Promise.all(columns.map((column) => call(operationId, column)));
      for (const [index, column] of columns.entries()) {
        const { status, body } = answers[index] as Answer;
        const refusedBy = { unauthenticated: 'refused 401', forbidden: 'refused 403' }[String(body?.code)];
        seen[column] = refusedBy ?? (status >= 500 ? `broke with ${status}` : 'allowed');
        const refusal = column === 'anonymous' ? 'refused 401' : 'refused 403';
        expected[column] = cells[index] === '+' ? 'allowed' : refusal;
      }
      expect(seen).toEqual(expected);
    });
  });

  it('asks the same roles for an operation now and for one that a schedule or an alarm starts later', () => {
    for (const id of ['createOperation', 'createSchedule', 'createAlarmRule'] as const)
      expect(permissions[id].roles, id).toEqual(['admin', ...operatingRoles]);
  });

  it('is what GET /v1/me tells, for every role', async () => {
    for (const [index, column] of columns.entries()) {
      if (column === 'anonymous') continue;
      const target = await makeTarget('getMe');
      const token = (await tokenOf(column, 'getMe', target)) as string;
      const { body } = await api.request('/v1/me', { token });
      const decided = Object.keys(matrix).filter((id) => matrix[id]?.replaceAll(' ', '')[index] === '+');
      expect([...body.can].sort(), column).toEqual(decided.sort());
    }
  });

  it('leaves an audit row of every change that was allowed, and of every refusal', async () => {
    const [rows] = await api.connection.query<RowDataPacket[]>(
      'SELECT DISTINCT action, result, remote_address AS `from` FROM audit_events WHERE at > ?',
      [new Date(Date.now() - 300_000)],
    );
    const found = rows.map((row) => `${row.action} ${row.result} from ${row.from}`);
    // Nobody could sign in here.
    const other: Record<string, string> = { login: 'invalid-credentials' };
    for (const { operationId, method } of operations) {
      if (method !== 'get' && !changeNothing.includes(operationId))
        expect(found).toContain(`${operationId} ${other[operationId] ?? 'ok'} from 127.0.0.1`);
      if (matrix[operationId]?.slice(1).includes('-'))
        expect(found).toContain(`${operationId} forbidden from 127.0.0.1`);
    }
  });
});
