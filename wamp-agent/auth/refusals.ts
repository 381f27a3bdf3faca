/**
 * The audit of refusals. The first of its kind is written at once; repeats within a minute are
 * counted and become one row, so that nobody fills the disk by knocking.
 */
import type { Database } from '../../common/db/database.ts';
import { type AuditRecord, recordAudit } from '../../common/db/queries/audit.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { Metrics } from '../metrics.ts';

export interface Refusals {
  /** Never throws, never waits. */
  record(refusal: AuditRecord): void;
  /** Writes what is counted; ends the timer. */
  stop(): Promise<void>;
}

export interface RefusalsOptions {
  database: Database;
  metrics: Metrics;
  logger: Logger;
  windowMs?: number;
  /** Kinds remembered at the most; further ones are counted under one. */
  maxKinds?: number;
}

/** Actors that proved who they are; the names that others give are theirs to invent. */
const provenActors: readonly AuditRecord['actorKind'][] = ['board', 'key'];

interface Counted {
  record: AuditRecord;
  repeats: number;
}

export function createRefusals(options: RefusalsOptions): Refusals {
  const { database, metrics, logger, windowMs = 60_000, maxKinds = 300 } = options;
  let kinds = new Map<string, Counted>();
  const writing = new Set<Promise<void>>();

  function write(records: AuditRecord[]): void {
    const run = database
      .read((manager) => recordAudit(manager, ...records))
      .catch((error: unknown) =>
        logger.warn({ err: error, refusals: records.length }, 'refusals could not be audited'),
      );
    writing.add(run);
    void run.finally(() => writing.delete(run));
  }

  function flush(): void {
    const repeated = [...kinds.values()].filter((each) => each.repeats > 0);
    kinds = new Map();
    const records = repeated.map(({ record, repeats }) => ({
      ...record,
      detail: { ...record.detail, repeats },
    }));
    if (records.length > 0) write(records);
  }

  const timer = setInterval(flush, windowMs);
  timer.unref();

  return {
    record(refusal) {
      metrics.refusals.inc({ action: refusal.action, reason: refusal.result });
      const actor = provenActors.includes(refusal.actorKind) ? refusal.actor : '';
      const kind = [refusal.action, refusal.result, actor, refusal.remoteAddress].join('|');
      const counted = kinds.get(kind);
      if (counted) {
        counted.repeats += 1;
        return;
      }
      if (kinds.size >= maxKinds) {
        const rest = kinds.get('*') ?? {
          record: { actorKind: 'anonymous', actor: '*', action: refusal.action, result: 'too-many-kinds' },
          repeats: 0,
        };
        rest.repeats += 1;
        kinds.set('*', rest);
        return;
      }
      kinds.set(kind, { record: refusal, repeats: 0 });
      write([refusal]);
    },
    async stop() {
      clearInterval(timer);
      flush();
      await Promise.all(writing);
    },
  };
}
