/**
 * The audit of refusals. The first of its kind is written at once; repeats within a minute are
 * counted and become one row, so that nobody fills the disk by knocking.
 *
 * A kind is what was refused to whom, and at what it aimed. A sender is told apart by what it cannot
 * choose: its address, and its name once that is proven. Claimed names and targets are its own to
 * invent, so of one sender a few kinds are told apart, and all further ones are one row.
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
  /** Senders remembered at the most; further ones are counted under one. */
  maxSenders?: number;
  /** Kinds of one sender that are told apart. */
  maxKindsOfSender?: number;
}

/** Actors that proved who they are. */
const provenActors: readonly AuditRecord['actorKind'][] = ['board', 'key'];

/** What the audit keeps of a name, and a row in memory must not be larger. */
const maxNameLength = 150;

interface Counted {
  record: AuditRecord;
  repeats: number;
}

interface Sender {
  kinds: Map<string, Counted>;
  /** All kinds that are not told apart. */
  others: Counted | undefined;
}

export function createRefusals(options: RefusalsOptions): Refusals {
  const { database, metrics, logger, windowMs = 60_000, maxSenders = 300, maxKindsOfSender = 20 } = options;
  let senders = new Map<string, Sender>();
  let kinds = 0;
  /** Of senders beyond the limit. */
  let strangers: Counted | undefined;
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
    const counted = [...senders.values()].flatMap((each) => [...each.kinds.values(), each.others]);
    const records = [...counted, strangers].flatMap((each) =>
      each && each.repeats > 0
        ? [{ ...each.record, detail: { ...each.record.detail, repeats: each.repeats } }]
        : [],
    );
    senders = new Map();
    kinds = 0;
    strangers = undefined;
    if (records.length > 0) write(records);
  }

  const timer = setInterval(flush, windowMs);
  timer.unref();

  /**
   * The first kind of a sender has a place whatever others sent; further ones only while no more kinds
   * than senders are remembered.
   */
  function mayTellApart(sender: Sender): boolean {
    return sender.kinds.size === 0 || (sender.kinds.size < maxKindsOfSender && kinds < maxSenders);
  }

  return {
    record(refusal) {
      metrics.refusals.inc({ action: refusal.action, reason: refusal.result });
      const senderKey = senderOf(refusal);
      const sender = senders.get(senderKey) ?? { kinds: new Map(), others: undefined };
      if (sender.kinds.size === 0 && senders.size >= maxSenders) {
        const { action } = refusal;
        strangers = count(strangers, {
          actorKind: 'anonymous',
          actor: '*',
          action,
          result: 'too-many-kinds',
        });
        return;
      }
      senders.set(senderKey, sender);
      const record = shortened(refusal);
      const kind = [record.actor, record.target].join('\n');
      const known = sender.kinds.get(kind);
      if (known) known.repeats += 1;
      else if (mayTellApart(sender)) {
        sender.kinds.set(kind, { record, repeats: 0 });
        kinds += 1;
        write([record]);
      } else sender.others = count(sender.others, othersOf(record));
    },
    async stop() {
      clearInterval(timer);
      flush();
      await Promise.all(writing);
    },
  };
}

function count(counted: Counted | undefined, record: AuditRecord): Counted {
  return counted ? { ...counted, repeats: counted.repeats + 1 } : { record, repeats: 1 };
}

function isProven({ actorKind }: AuditRecord): boolean {
  return provenActors.includes(actorKind);
}

function senderOf(refusal: AuditRecord): string {
  const actor = isProven(refusal) ? refusal.actor : '';
  return [refusal.action, refusal.result, actor, refusal.remoteAddress].join('|');
}

function shortened(refusal: AuditRecord): AuditRecord {
  const { actor, target } = refusal;
  return {
    ...refusal,
    actor: actor.slice(0, maxNameLength),
    ...(target !== undefined && { target: target.slice(0, maxNameLength) }),
  };
}

/** The row of what is not told apart: nothing in it may be laid at the door of one of them. */
function othersOf({ detail: _detail, ...record }: AuditRecord): AuditRecord {
  return {
    ...record,
    ...(!isProven(record) && { actor: '*' }),
    ...(record.target !== undefined && { target: '*' }),
  };
}
