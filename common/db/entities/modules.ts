/** Modules of boards, the devices behind gateways among them, and the sources that hear them. */
import { EntitySchema } from 'typeorm';
import type { FlowCounts, ModuleState, SequenceCounts } from '../../wamp/modules.ts';
import { ascii, big, nullable, text, time, uuid, whole } from './columns.ts';
import { ofBoard } from './foreign-keys.ts';

/** declared: by the board's hello. discovered: heard by one of its sources. created: by somebody over the API. */
export const moduleOrigins = ['declared', 'discovered', 'created'] as const;
export type ModuleOrigin = (typeof moduleOrigins)[number];

export interface BoardModule extends SequenceCounts {
  boardUuid: string;
  name: string;
  description: string | null;
  updatedAt: Date;
  tenantId: string;
  origin: ModuleOrigin;
  state: ModuleState;
  /** How the board treats it, by its last report; null = it has never reported it. */
  boardState: ModuleState | null;
  kind: string | null;
  /** The source that hears it. */
  source: string | null;
  lastSeq: number | null;
  /** When the device was first seen by the file that the board counts in now: tells one file from the next. */
  countedSince: Date | null;
  /** How often the counts began anew because the board's file was replaced. */
  countResets: number;
  firstSeenAt: Date | null;
  lastSeenAt: Date | null;
  reportedAt: Date | null;
  decidedBy: string | null;
  decidedAt: Date | null;
  version: number;
  createdAt: Date;
}

export const BoardModuleEntity = new EntitySchema<BoardModule>({
  name: 'BoardModule',
  tableName: 'modules',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    name: ascii('name', 60, { primary: true }),
    description: text('description', 500, nullable),
    updatedAt: time('updated_at'),
    tenantId: uuid('tenant_id'),
    origin: ascii('origin', 20, { default: 'declared' }),
    state: ascii('state', 20, { default: 'accepted' }),
    boardState: ascii('board_state', 20, nullable),
    kind: ascii('kind', 60, nullable),
    source: ascii('source', 60, nullable),
    received: big('received', { default: 0 }),
    duplicate: big('duplicate', { default: 0 }),
    missed: big('missed', { default: 0 }),
    late: big('late', { default: 0 }),
    restarted: big('restarted', { default: 0 }),
    badMac: big('bad_mac', { default: 0 }),
    refused: big('refused', { default: 0 }),
    lastSeq: big('last_seq', nullable),
    countedSince: time('counted_since', nullable),
    countResets: whole('count_resets', { default: 0 }),
    firstSeenAt: time('first_seen_at', nullable),
    lastSeenAt: time('last_seen_at', nullable),
    reportedAt: time('reported_at', nullable),
    decidedBy: ascii('decided_by', 60, nullable),
    decidedAt: time('decided_at', nullable),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
  },
  indices: [
    { name: 'ix_modules_tenant', columns: ['tenantId', 'boardUuid', 'name'] },
    { name: 'ix_modules_state', columns: ['tenantId', 'state', 'boardUuid', 'name'] },
  ],
  foreignKeys: ofBoard('fk_modules_board'),
});

export interface BoardSource extends FlowCounts {
  boardUuid: string;
  name: string;
  kind: string;
  fault: string | null;
  countResets: number;
  reportedAt: Date;
}

export const BoardSourceEntity = new EntitySchema<BoardSource>({
  name: 'BoardSource',
  tableName: 'board_sources',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    name: ascii('name', 60, { primary: true }),
    kind: ascii('kind', 60),
    received: big('received'),
    stored: big('stored'),
    duplicate: big('duplicate'),
    rejected: big('rejected'),
    waiting: big('waiting'),
    fault: text('fault', 500, nullable),
    countResets: whole('count_resets', { default: 0 }),
    reportedAt: time('reported_at'),
  },
  foreignKeys: ofBoard('fk_board_sources_board'),
});
