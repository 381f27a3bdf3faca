/** What tests of operations begin with, and how they play the conductor: by rows. */
import { randomUUID } from 'node:crypto';
import type { ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import type { ApiConfig } from '../../../api/config.ts';
import type { ProcedureContract } from '../../../common/wamp/contract.ts';
import { type Answer, type RequestOptions, startTestApi, type TestApi } from '../../harness/api.ts';

export interface OperationsApi {
  api: TestApi;
  tenant: string;
  /** Of a manager of the tenant. */
  token: string;
  /** A board that is online and offers `reboot` and `gpio.write {pin: 0…7}`. */
  board(name?: string, columns?: Record<string, unknown>, labels?: Record<string, string>): Promise<string>;
  post(path: string, body?: unknown, options?: RequestOptions): Promise<Answer>;
  get(path: string): Promise<Answer>;
  /** An operation, made over HTTP. */
  create(body: Record<string, unknown>): Promise<Answer>;
  /** Changes rows of an operation's targets as a conductor would have; answers how many. */
  targets(operation: string, columns: Record<string, unknown>, board?: string): Promise<number>;
  rows(sql: string, values?: unknown[]): Promise<RowDataPacket[]>;
  stop(): Promise<void>;
}

const contracts: ProcedureContract[] = [
  { name: 'reboot', safety: 'journaled' },
  {
    name: 'gpio.write',
    kwargs: {
      type: 'object',
      properties: { pin: { type: 'integer', minimum: 0, maximum: 7 } },
      required: ['pin'],
    },
    safety: 'idempotent',
  },
];

export async function startOperationsApi(config: Partial<ApiConfig> = {}): Promise<OperationsApi> {
  const api = await startTestApi(config);
  const tenant = await api.rows.tenant();
  const { token } = await api.rows.user({ memberships: { [tenant]: 'manager_iot_project' } });
  const post: OperationsApi['post'] = (path, body, options = {}) =>
    api.request(path, { method: 'POST', token, ...(body !== undefined && { body }), ...options });
  return {
    api,
    tenant,
    token,
    async board(name = `gw-${randomUUID().slice(0, 8)}`, columns = {}, labels = {}) {
      const uuid = await api.rows.board(
        tenant,
        { name, status: 'online', contracts_hash: 'usual', ...columns },
        labels,
      );
      for (const each of contracts)
        await api.rows.insert('procedure_contracts', {
          board_uuid: uuid,
          name: each.name,
          contract: JSON.stringify(each),
        });
      return uuid;
    },
    post,
    get: (path) => api.request(path, { token }),
    create: (body) => post('/v1/operations', { procedure: 'reboot', delivery: 'when-online', ...body }),
    async targets(operation, columns, board) {
      const [result] = await api.connection.query<ResultSetHeader>(
        `UPDATE operation_targets SET ? WHERE operation_id = ?${board === undefined ? '' : ' AND board_uuid = ?'}`,
        [columns, operation, board],
      );
      return result.affectedRows;
    },
    async rows(sql, values = []) {
      const [found] = await api.connection.query<RowDataPacket[]>(sql, values);
      return found;
    },
    stop: () => api.stop(),
  };
}
