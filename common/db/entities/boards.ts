import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, double, flag, hash, json, nullable, text, time, uuid, whole } from './columns.ts';
import { ofBoard } from './foreign-keys.ts';

export const boardStatuses = ['registered', 'online', 'offline', 'revoked'] as const;
/** registered = created, never enrolled or never joined since. */
export type BoardStatus = (typeof boardStatuses)[number];

export interface Board {
  uuid: string;
  tenantId: string;
  name: string;
  type: string;
  status: BoardStatus;
  latitude: number | null;
  longitude: number | null;
  altitude: number | null;
  mobile: boolean;
  extra: JsonObject | null;
  agentVersion: string | null;
  connectivity: JsonObject | null;
  /** hashContracts of the published contracts; relays cache by it. */
  contractsHash: string | null;
  /** Changes with every decision about a module of the board; null = there has been none. */
  modulesVersion: string | null;
  /** Identity of the board's journal of operations, as of its last hello. */
  journalEpoch: string | null;
  lastHeartbeatAt: Date | null;
  lastRpcAt: Date | null;
  /** The latest of any sign of life; written in batches, so it may lag by some seconds. */
  lastSeenAt: Date | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const BoardEntity = new EntitySchema<Board>({
  name: 'Board',
  tableName: 'boards',
  columns: {
    uuid: uuid('uuid', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    type: text('type', 60, { default: '' }),
    status: ascii('status', 20, { default: 'registered' }),
    latitude: double('latitude', nullable),
    longitude: double('longitude', nullable),
    altitude: double('altitude', nullable),
    mobile: flag('mobile', { default: 0 }),
    extra: json('extra', nullable),
    agentVersion: text('agent_version', 50, nullable),
    connectivity: json('connectivity', nullable),
    contractsHash: ascii('contracts_hash', 32, nullable),
    modulesVersion: uuid('modules_version', nullable),
    journalEpoch: uuid('journal_epoch', nullable),
    lastHeartbeatAt: time('last_heartbeat_at', nullable),
    lastRpcAt: time('last_rpc_at', nullable),
    lastSeenAt: time('last_seen_at', nullable),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_boards_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_boards_status', columns: ['tenantId', 'status'] },
    { name: 'ix_boards_type', columns: ['tenantId', 'type'] },
  ],
  foreignKeys: [
    {
      name: 'fk_boards_tenant',
      target: 'Tenant',
      columnNames: ['tenantId'],
      referencedColumnNames: ['id'],
      onDelete: 'NO ACTION',
      onUpdate: 'NO ACTION',
    },
  ],
});

export interface BoardLabel {
  boardUuid: string;
  key: string;
  tenantId: string;
  value: string;
}

export const BoardLabelEntity = new EntitySchema<BoardLabel>({
  name: 'BoardLabel',
  tableName: 'board_labels',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    key: ascii('label_key', 63, { primary: true }),
    tenantId: uuid('tenant_id'),
    value: text('label_value', 100),
  },
  indices: [{ name: 'ix_board_labels_value', columns: ['tenantId', 'key', 'value'] }],
  foreignKeys: ofBoard('fk_board_labels_board'),
});

/** pending = enrolled, has not joined yet; active = the key boards join with; revoked = refused. */
export type CredentialState = 'pending' | 'active' | 'revoked';

export interface BoardCredential {
  id: string;
  boardUuid: string;
  /** Ed25519, lower-case hex. */
  publicKey: string;
  state: CredentialState;
  hardware: JsonObject | null;
  createdAt: Date;
  firstJoinedAt: Date | null;
  revokedAt: Date | null;
}

export const BoardCredentialEntity = new EntitySchema<BoardCredential>({
  name: 'BoardCredential',
  tableName: 'board_credentials',
  columns: {
    id: uuid('id', { primary: true }),
    boardUuid: uuid('board_uuid'),
    publicKey: hash('public_key'),
    state: ascii('state', 20),
    hardware: json('hardware', nullable),
    createdAt: time('created_at'),
    firstJoinedAt: time('first_joined_at', nullable),
    revokedAt: time('revoked_at', nullable),
  },
  indices: [
    { name: 'uq_board_credentials_key', columns: ['publicKey'], unique: true },
    { name: 'ix_board_credentials_board', columns: ['boardUuid', 'state'] },
  ],
  foreignKeys: ofBoard('fk_board_credentials_board'),
});

export interface EnrolmentCode {
  codeHash: string;
  boardUuid: string;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date;
  usedAt: Date | null;
  /** The key that spent the code: the same key may repeat the call while the code lives. */
  usedPublicKey: string | null;
  revokedAt: Date | null;
}

export const EnrolmentCodeEntity = new EntitySchema<EnrolmentCode>({
  name: 'EnrolmentCode',
  tableName: 'enrolment_codes',
  columns: {
    codeHash: hash('code_hash', { primary: true }),
    boardUuid: uuid('board_uuid'),
    createdBy: ascii('created_by', 60),
    createdAt: time('created_at'),
    expiresAt: time('expires_at'),
    usedAt: time('used_at', nullable),
    usedPublicKey: hash('used_public_key', nullable),
    revokedAt: time('revoked_at', nullable),
  },
  indices: [
    { name: 'ix_enrolment_codes_board', columns: ['boardUuid'] },
    { name: 'ix_enrolment_codes_expires', columns: ['expiresAt'] },
  ],
  foreignKeys: ofBoard('fk_enrolment_codes_board'),
});

export interface BoardSession {
  id: string;
  boardUuid: string;
  /** true while it lives, null afterwards: unique (board, live) allows one live session. */
  live: true | null;
  cell: string;
  agentId: string;
  wampSession: number;
  bootId: string;
  agentVersion: string;
  /** What the board was told: its silence is judged by it. */
  heartbeatIntervalMs: number;
  remoteAddress: string | null;
  startedAt: Date;
  endedAt: Date | null;
  endReason: string | null;
}

export const BoardSessionEntity = new EntitySchema<BoardSession>({
  name: 'BoardSession',
  tableName: 'board_sessions',
  columns: {
    id: uuid('id', { primary: true }),
    boardUuid: uuid('board_uuid'),
    live: flag('live', {
      nullable: true,
      transformer: {
        from: (value: number | null) => (value === 1 ? true : null),
        to: (value: true | null) => (value ? 1 : value),
      },
    }),
    cell: ascii('cell', 60),
    agentId: uuid('agent_id'),
    wampSession: big('wamp_session'),
    bootId: ascii('boot_id', 100),
    agentVersion: text('agent_version', 50),
    heartbeatIntervalMs: whole('heartbeat_interval_ms', { default: 10_000 }),
    remoteAddress: ascii('remote_address', 100, nullable),
    startedAt: time('started_at'),
    endedAt: time('ended_at', nullable),
    endReason: ascii('end_reason', 60, nullable),
  },
  indices: [
    { name: 'uq_board_sessions_live', columns: ['boardUuid', 'live'], unique: true },
    { name: 'ix_board_sessions_history', columns: ['boardUuid', 'startedAt'] },
    { name: 'ix_board_sessions_router', columns: ['cell', 'live', 'wampSession'] },
    { name: 'ix_board_sessions_ended', columns: ['endedAt'] },
  ],
});

export interface StoredContract {
  boardUuid: string;
  name: string;
  contract: JsonObject;
}

export const StoredContractEntity = new EntitySchema<StoredContract>({
  name: 'StoredContract',
  tableName: 'procedure_contracts',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    name: ascii('name', 100, { primary: true }),
    contract: json('contract'),
  },
  foreignKeys: ofBoard('fk_procedure_contracts_board'),
});

/** A board that was deleted and whose readings are still to be cleared. */
export interface DeletedBoard {
  boardUuid: string;
  tenantId: string;
  deletedAt: Date;
}

export const DeletedBoardEntity = new EntitySchema<DeletedBoard>({
  name: 'DeletedBoard',
  tableName: 'deleted_boards',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    tenantId: uuid('tenant_id'),
    deletedAt: time('deleted_at'),
  },
  indices: [{ name: 'ix_deleted_boards_deleted', columns: ['deletedAt'] }],
});
