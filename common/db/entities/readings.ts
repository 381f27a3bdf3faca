/** Control rows of readings. The rows themselves (readings, rollups) are reached by plain SQL only. */
import { EntitySchema } from 'typeorm';
import type { ReadingType } from '../../wamp/readings.ts';
import { ascii, big, double, nullable, text, time, uuid, whole } from './columns.ts';
import { ofBoard } from './foreign-keys.ts';

export interface Stream {
  id: number;
  boardUuid: string;
  name: string;
  type: ReadingType;
  unit: string;
  /** Measured times, epoch milliseconds. */
  firstAt: number | null;
  lastAt: number | null;
  lastNumber: number | null;
  lastText: string | null;
  readingCount: number;
  createdAt: Date;
}

export const StreamEntity = new EntitySchema<Stream>({
  name: 'Stream',
  tableName: 'streams',
  columns: {
    id: whole('id', { primary: true, generated: 'increment' }),
    boardUuid: uuid('board_uuid'),
    name: ascii('name', 150),
    type: ascii('type', 10),
    unit: text('unit', 30, { default: '' }),
    firstAt: big('first_at', { unsigned: false, ...nullable }),
    lastAt: big('last_at', { unsigned: false, ...nullable }),
    lastNumber: double('last_number', nullable),
    lastText: text('last_text', 2000, nullable),
    readingCount: big('reading_count', { default: 0 }),
    createdAt: time('created_at'),
  },
  indices: [{ name: 'uq_streams_name', columns: ['boardUuid', 'name'], unique: true }],
});

/** The exactly-once fence: everything of the epoch up to ackedSeq is committed or a recorded gap. */
export interface BoardSpool {
  id: number;
  boardUuid: string;
  epoch: string;
  ackedSeq: number;
  received: number;
  lost: number;
  misdated: number;
  /** Came again, and were passed over. */
  duplicate: number;
  createdAt: Date;
  updatedAt: Date;
}

export const BoardSpoolEntity = new EntitySchema<BoardSpool>({
  name: 'BoardSpool',
  tableName: 'board_spools',
  columns: {
    id: whole('id', { primary: true, generated: 'increment' }),
    boardUuid: uuid('board_uuid'),
    epoch: uuid('epoch'),
    ackedSeq: big('acked_seq', { default: 0 }),
    received: big('received', { default: 0 }),
    lost: big('lost', { default: 0 }),
    misdated: big('misdated', { default: 0 }),
    duplicate: big('duplicate', { default: 0 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [{ name: 'uq_board_spools_epoch', columns: ['boardUuid', 'epoch'], unique: true }],
});

/** Readings that a board holds and has not sent, by its last word. */
export interface BoardBacklog {
  boardUuid: string;
  waiting: number;
  reportedAt: Date;
}

export const BoardBacklogEntity = new EntitySchema<BoardBacklog>({
  name: 'BoardBacklog',
  tableName: 'board_backlogs',
  columns: {
    boardUuid: uuid('board_uuid', { primary: true }),
    waiting: big('waiting'),
    reportedAt: time('reported_at'),
  },
  foreignKeys: ofBoard('fk_board_backlogs_board'),
});

export interface ReadingGap {
  spoolId: number;
  fromSeq: number;
  toSeq: number;
  reason: string;
  createdAt: Date;
}

export const ReadingGapEntity = new EntitySchema<ReadingGap>({
  name: 'ReadingGap',
  tableName: 'reading_gaps',
  columns: {
    spoolId: whole('spool_id', { primary: true }),
    fromSeq: big('from_seq', { primary: true }),
    toSeq: big('to_seq'),
    reason: text('reason', 100),
    createdAt: time('created_at'),
  },
});
