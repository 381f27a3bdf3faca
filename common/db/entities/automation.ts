/** Fleets of boards, and what is made on them at set times. */
import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, flag, json, nullable, text, time, uuid, whole } from './columns.ts';
import { ofBoard, ofTenant } from './foreign-keys.ts';

export interface Fleet {
  id: string;
  tenantId: string;
  name: string;
  description: string | null;
  /** null = an explicit list, in fleet_boards. */
  selector: string | null;
  createdBy: string;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const FleetEntity = new EntitySchema<Fleet>({
  name: 'Fleet',
  tableName: 'fleets',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    description: text('description', 500, nullable),
    selector: text('selector', 1000, nullable),
    createdBy: ascii('created_by', 60),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [{ name: 'uq_fleets_name', columns: ['tenantId', 'name'], unique: true }],
  foreignKeys: ofTenant('fk_fleets_tenant'),
});

export interface FleetBoard {
  fleetId: string;
  boardUuid: string;
}

export const FleetBoardEntity = new EntitySchema<FleetBoard>({
  name: 'FleetBoard',
  tableName: 'fleet_boards',
  columns: {
    fleetId: uuid('fleet_id', { primary: true }),
    boardUuid: uuid('board_uuid', { primary: true }),
  },
  indices: [{ name: 'ix_fleet_boards_board', columns: ['boardUuid'] }],
  foreignKeys: [
    {
      name: 'fk_fleet_boards_fleet',
      target: 'Fleet',
      columnNames: ['fleetId'],
      referencedColumnNames: ['id'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
    {
      name: 'fk_fleet_boards_board',
      target: 'Board',
      columnNames: ['boardUuid'],
      referencedColumnNames: ['uuid'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
  ],
});

export interface Schedule {
  id: string;
  tenantId: string;
  name: string;
  /** active, paused, ended (a one-time schedule that fired). */
  state: string;
  timing: JsonObject;
  jitterSeconds: number;
  overlap: string;
  catchUp: string;
  catchUpLimit: number;
  /** Handed to its boards, which run it by themselves. */
  offline: boolean;
  /** Body of the operations that it makes, with `deadlineSeconds` in place of `deadline`. */
  operation: JsonObject;
  nextAt: Date | null;
  lastDueAt: Date | null;
  lastError: string | null;
  createdBy: string;
  /** In whose name it makes operations: whoever made or last changed it; null = nobody. */
  author: string | null;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const ScheduleEntity = new EntitySchema<Schedule>({
  name: 'Schedule',
  tableName: 'schedules',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    state: ascii('state', 20),
    timing: json('timing'),
    jitterSeconds: whole('jitter_seconds', { default: 0 }),
    overlap: ascii('overlap', 20),
    catchUp: ascii('catch_up', 10),
    catchUpLimit: whole('catch_up_limit', { default: 1 }),
    offline: flag('offline', { default: 0 }),
    operation: json('operation'),
    nextAt: time('next_at', nullable),
    lastDueAt: time('last_due_at', nullable),
    lastError: text('last_error', 500, nullable),
    createdBy: ascii('created_by', 60),
    author: ascii('author', 60, nullable),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_schedules_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_schedules_due', columns: ['state', 'nextAt'] },
    { name: 'ix_schedules_offline', columns: ['offline', 'state', 'tenantId'] },
  ],
  foreignKeys: ofTenant('fk_schedules_tenant'),
});

/** Unique (schedule, due time): whoever inserts it fires it. */
export interface ScheduleRun {
  scheduleId: string;
  dueAt: Date;
  operationId: string | null;
  outcome: string;
  detail: string | null;
  at: Date;
}

export const ScheduleRunEntity = new EntitySchema<ScheduleRun>({
  name: 'ScheduleRun',
  tableName: 'schedule_runs',
  columns: {
    scheduleId: uuid('schedule_id', { primary: true }),
    dueAt: time('due_at', { primary: true }),
    operationId: uuid('operation_id', nullable),
    outcome: ascii('outcome', 20),
    detail: text('detail', 500, nullable),
    at: time('at'),
  },
  indices: [{ name: 'ix_schedule_runs_at', columns: ['at'] }],
});

export interface BoardScheduleList {
  boardUuid: string;
  tenantId: string;
  handedHash: string;
  /** The board's journal that has them; null = not known then. */
  handedEpoch: string | null;
}

export const BoardScheduleListEntity = new EntitySchema<BoardScheduleList>({
  name: 'BoardScheduleList',
  tableName: 'board_schedules',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    tenantId: uuid('tenant_id'),
    handedHash: ascii('handed_hash', 64),
    handedEpoch: uuid('handed_epoch', nullable),
  },
  indices: [{ name: 'ix_board_schedules_tenant', columns: ['tenantId'] }],
  foreignKeys: ofBoard('fk_board_schedules_board'),
});
