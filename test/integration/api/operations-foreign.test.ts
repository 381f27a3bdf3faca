/** Operations, artifacts and targets of another tenant do not exist, in every position. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Answer } from '../../harness/api.ts';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let ops: OperationsApi;
let theirs: Record<
  'operation' | 'artifact' | 'board' | 'boardName' | 'fleet' | 'fleetName' | 'tenant',
  string
>;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  ops = await startOperationsApi();
  const board = await ops.board('their-board');
  const { id } = (await ops.create({ target: { boards: [board] } })).body;
  await ops.targets(id, { state: 'unknown', queue: null });
  const now = new Date();
  const times = { created_at: now, updated_at: now };
  const fleet = randomUUID();
  const artifact = randomUUID();
  await ops.api.rows.insert('fleets', {
    id: fleet,
    tenant_id: ops.tenant,
    name: 'their-fleet',
    created_by: 'test',
    ...times,
  });
  await ops.api.rows.insert('fleet_boards', { fleet_id: fleet, board_uuid: board });
  await ops.api.rows.insert('artifacts', {
    id: artifact,
    tenant_id: ops.tenant,
    board_uuid: board,
    operation_id: id,
    attempt: 1,
    name: 'log',
    media_type: 'text/plain',
    size: 1,
    sha256: 'a'.repeat(64),
    state: 'complete',
    expires_at: now,
    ...times,
  });
  theirs = {
    operation: id,
    artifact,
    board,
    boardName: 'their-board',
    fleet,
    fleetName: 'their-fleet',
    tenant: ops.tenant,
  };
  const mine = await ops.api.rows.tenant();
  tokens.user = (await ops.api.rows.user({ memberships: { [mine]: 'admin_iot_project' } })).token;
  tokens.key = (await ops.api.rows.key(mine)).token;
});
afterAll(async () => ops?.stop());

interface Position {
  what: string;
  of: keyof typeof theirs;
  send(reference: string, token: string): Promise<Answer>;
}

const get = (of: Position['of'], path: (reference: string) => string): Position => ({
  what: `GET ${path(`{${of}}`)}`,
  of,
  send: (reference, token) => ops.api.request(path(reference), { token }),
});
const post = (
  of: Position['of'],
  path: (reference: string) => string,
  body?: (reference: string) => object,
): Position => ({
  what: `POST ${path(`{${of}}`)} ${JSON.stringify(body?.(`{${of}}`))}`,
  of,
  send: (reference, token) => ops.post(path(reference), body?.(reference), { token }),
});
const order = (target: object, more: object = {}) => ({
  procedure: 'reboot',
  target,
  delivery: 'when-online',
  ...more,
});

const positions: Position[] = [
  ...['', '/targets', '/timeline', '/artifacts'].map((tail) =>
    get('operation', (id) => `/v1/operations/${id}${tail}`),
  ),
  ...['cancel', 'retry', 'resolve', 'pause', 'resume', 'approve'].map((step) =>
    post('operation', (id) => `/v1/operations/${id}/${step}`),
  ),
  get('artifact', (id) => `/v1/artifacts/${id}`),
  get('artifact', (id) => `/v1/artifacts/${id}/content`),
  get('tenant', (id) => `/v1/operations?tenant=${id}`),
  get('board', (id) => `/v1/operations?board=${id}`),
  get('boardName', (name) => `/v1/operations?board=${name}`),
  ...['', '/plan'].flatMap((tail) => [
    post(
      'tenant',
      () => `/v1/operations${tail}`,
      (tenant) => order({ selector: 'a' }, { tenant }),
    ),
    post(
      'board',
      () => `/v1/operations${tail}`,
      (id) => order({ boards: [id] }),
    ),
    post(
      'boardName',
      () => `/v1/operations${tail}`,
      (name) => order({ boards: [name] }),
    ),
    post(
      'fleet',
      () => `/v1/operations${tail}`,
      (fleet) => order({ fleet }),
    ),
    post(
      'fleetName',
      () => `/v1/operations${tail}`,
      (fleet) => order({ fleet }),
    ),
  ]),
];

/** What a client can tell apart, the reference itself aside. */
function visible({ status, body }: Answer, reference: string): unknown {
  const { requestId: _requestId, ...problem } = body as Record<string, unknown>;
  return JSON.parse(JSON.stringify({ status, problem }).replaceAll(reference, '{}'));
}

describe.each(['user', 'key'])('to a %s of another tenant who may do everything at home', (caller) => {
  it.each(positions)('$what is missing', async ({ of, send }) => {
    const token = tokens[caller] as string;
    const before = await ops.api.checksums();
    const answer = await send(theirs[of], token);
    expect(answer.status, answer.text).toBe(404);
    const stranger = of.endsWith('Name') ? `no-${randomUUID().slice(0, 8)}` : randomUUID();
    expect(visible(answer, theirs[of])).toEqual(visible(await send(stranger, token), stranger));
    expect(await ops.api.checksums()).toEqual(before);
  });

  it('lists show nothing of it', async () => {
    const answer = await ops.api.request('/v1/operations', { token: tokens[caller] as string });
    expect(answer.body).toEqual({ items: [] });
  });
});
