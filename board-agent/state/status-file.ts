/** What the running agent says about itself, for `boardwalk-agent status` and for people. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Clock } from '../clock.ts';
import type { IntakeStats } from '../intake/intake.ts';
import type { OperationsStats } from '../operations/operations.ts';
import type { SessionState } from '../session/board-session.ts';
import type { SpoolStats } from '../spool/spool.ts';
import { writeFileAtomic } from './atomic-file.ts';
import { findStartTicks, readBootId } from './process-facts.ts';

export interface AgentStatus {
  pid: number;
  /** With pid and boot id: tells this process from another with the same pid. */
  startTicks?: number;
  bootId: string;
  agentVersion: string;
  boardUuid: string;
  boardName: string;
  startedAt: string;
  writtenAt: string;
  session: SessionState;
  spool: SpoolStats;
  /** Absent in a file that an older agent has left. */
  operations?: OperationsStats;
  /** Of sources that hear messages; absent without any. */
  intake?: IntakeStats;
  lastAckAt?: string;
  batchIntervalMs: number;
  /** The newest last. */
  errors: { at: string; part: string; message: string }[];
  residentBytes: number;
}

const statusPath = (stateDir: string) => join(stateDir, 'status.json');

/** What the writer itself knows of the process. */
export type ProcessFacts = Pick<
  AgentStatus,
  'pid' | 'startTicks' | 'bootId' | 'errors' | 'lastAckAt' | 'residentBytes'
>;

export interface StatusWriter {
  start(): void;
  stop(): void;
  /** Something has changed: the file follows within 100 ms. */
  touch(): void;
  noteError(part: string, message: string): void;
  noteAck(at: number): void;
  facts(): ProcessFacts;
}

const refreshMs = 5000;
const touchMs = 100;
const keptErrors = 10;

export function createStatusWriter(options: {
  stateDir: string;
  clock: Clock;
  logger: Logger;
  collect: () => AgentStatus;
}): StatusWriter {
  const { stateDir, clock, logger, collect } = options;
  const errors: AgentStatus['errors'] = [];
  const startTicks = findStartTicks(process.pid);
  const bootId = readBootId();
  let lastAckAt: string | undefined;
  let cancel: (() => void) | undefined;
  let soon = false;
  let failed = false;
  let running = false;

  function write(): void {
    cancel?.();
    soon = false;
    try {
      const content = `${JSON.stringify(collect(), undefined, 2)}\n`;
      writeFileAtomic(statusPath(stateDir), content, { mode: 0o644, durable: false });
      failed = false;
    } catch (error) {
      // A full disk must not end the agent; said once until it heals.
      if (!failed) logger.warn({ reason: messageOf(error) }, 'status.json could not be written');
      failed = true;
    }
    if (running) cancel = clock.after(refreshMs, write);
  }

  function touch(): void {
    if (!running || soon) return;
    soon = true;
    cancel?.();
    cancel = clock.after(touchMs, write);
  }

  return {
    start() {
      running = true;
      write();
    },
    stop() {
      running = false;
      write();
    },
    touch,
    noteError(part, message) {
      errors.push({ at: new Date(clock.now()).toISOString(), part, message });
      if (errors.length > keptErrors) errors.shift();
      touch();
    },
    noteAck(at) {
      lastAckAt = new Date(at).toISOString();
    },
    facts: () => ({
      pid: process.pid,
      ...(startTicks !== undefined && { startTicks }),
      bootId,
      errors,
      residentBytes: process.memoryUsage.rss(),
      ...(lastAckAt !== undefined && { lastAckAt }),
    }),
  };
}

export function findStatus(stateDir: string): AgentStatus | undefined {
  let content: string;
  try {
    content = readFileSync(statusPath(stateDir), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return JSON.parse(content) as AgentStatus;
}

export function isAlive(status: AgentStatus): boolean {
  return status.bootId === readBootId() && findStartTicks(status.pid) === status.startTicks;
}
