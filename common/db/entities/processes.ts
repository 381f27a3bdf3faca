import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import { ascii, big, flag, json, nullable, time, uuid } from './columns.ts';

/** One cell: a Crossbar router with the wamp-agents attached to it. */
export interface Router {
  cell: string;
  connectedAt: Date | null;
  lostAt: Date | null;
  createdAt: Date;
}

export const RouterEntity = new EntitySchema<Router>({
  name: 'Router',
  tableName: 'routers',
  columns: {
    cell: ascii('cell', 60, { primary: true }),
    connectedAt: time('connected_at', nullable),
    lostAt: time('lost_at', nullable),
    createdAt: time('created_at'),
  },
});

export interface WampAgent {
  id: string;
  cell: string;
  relayUrl: string;
  routerConnected: boolean;
  startedAt: Date;
  heartbeatAt: Date;
  stoppedAt: Date | null;
  stopReason: string | null;
}

export const WampAgentEntity = new EntitySchema<WampAgent>({
  name: 'WampAgent',
  tableName: 'wamp_agents',
  columns: {
    id: uuid('id', { primary: true }),
    cell: ascii('cell', 60),
    relayUrl: ascii('relay_url', 255),
    routerConnected: flag('router_connected', { default: 0 }),
    startedAt: time('started_at'),
    heartbeatAt: time('heartbeat_at'),
    stoppedAt: time('stopped_at', nullable),
    stopReason: ascii('stop_reason', 60, nullable),
  },
  indices: [{ name: 'ix_wamp_agents_cell', columns: ['cell', 'stoppedAt'] }],
});

export interface Conductor {
  id: string;
  url: string;
  startedAt: Date;
  heartbeatAt: Date;
  stoppedAt: Date | null;
  stopReason: string | null;
}

export const ConductorEntity = new EntitySchema<Conductor>({
  name: 'Conductor',
  tableName: 'conductors',
  columns: {
    id: uuid('id', { primary: true }),
    url: ascii('url', 255),
    startedAt: time('started_at'),
    heartbeatAt: time('heartbeat_at'),
    stoppedAt: time('stopped_at', nullable),
    stopReason: ascii('stop_reason', 60, nullable),
  },
  indices: [{ name: 'ix_conductors_stopped', columns: ['stoppedAt'] }],
});

/** A named right to do something alone, taken by compare-and-set; `fence` rises with each taking. */
export interface Lease {
  name: string;
  owner: string | null;
  fence: number;
  untilAt: Date | null;
}

export const LeaseEntity = new EntitySchema<Lease>({
  name: 'Lease',
  tableName: 'leases',
  columns: {
    name: ascii('name', 60, { primary: true }),
    owner: ascii('owner', 60, nullable),
    fence: big('fence', { default: 0 }),
    untilAt: time('until_at', nullable),
  },
});

/** One run of a conductor's task; unique (task, slot) makes each due run happen once. */
export interface TaskRun {
  id: number;
  task: string;
  slotAt: Date;
  conductorId: string;
  startedAt: Date;
  endedAt: Date | null;
  outcome: string | null;
  detail: JsonObject | null;
}

export const TaskRunEntity = new EntitySchema<TaskRun>({
  name: 'TaskRun',
  tableName: 'task_runs',
  columns: {
    id: big('id', { primary: true, generated: 'increment' }),
    task: ascii('task', 60),
    slotAt: time('slot_at'),
    conductorId: uuid('conductor_id'),
    startedAt: time('started_at'),
    endedAt: time('ended_at', nullable),
    outcome: ascii('outcome', 20, nullable),
    detail: json('detail', nullable),
  },
  indices: [
    { name: 'uq_task_runs_slot', columns: ['task', 'slotAt'], unique: true },
    { name: 'ix_task_runs_started', columns: ['startedAt'] },
  ],
});
