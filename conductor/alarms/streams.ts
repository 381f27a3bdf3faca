/** New readings, seen by the rules that watch their streams. */
import type { EntityManager } from 'typeorm';
import { reviewedReadings, reviewRun, reviewWindow, splitLate } from '../../common/alarms/late.ts';
import type { WatchedReading } from '../../common/alarms/signals.ts';
import { takeData } from '../../common/alarms/silence.ts';
import { matchesPattern } from '../../common/alarms/stream-pattern.ts';
import { holdMs } from '../../common/alarms/timing.ts';
import { type Step, takeReadings } from '../../common/alarms/watch.ts';
import type { AlarmRuleRow } from '../../common/db/entities/alarms.ts';
import type { NewReadings } from './feed.ts';
import type { Members } from './members.ts';
import { keyOf, newWatched, readStates, type Watched } from './watched.ts';

/** What became of a stream or a board by a rule. */
export interface Change {
  watched: Watched;
  step: Step;
}

export async function evaluateStreams(
  manager: EntityManager,
  rules: readonly AlarmRuleRow[],
  streams: readonly NewReadings[],
  { members, now }: { members: Members; now: number },
): Promise<Change[]> {
  const watching = rules.filter(({ stream }) => stream !== null);
  const named = streams.flatMap((news) =>
    watching
      .filter(({ stream }) => matchesPattern(stream ?? '', news.stream))
      .map((rule) => ({ rule, news })),
  );
  if (named.length === 0) return [];
  const asked = [...new Set(named.map(({ rule }) => rule))];
  const boards = [...new Set(named.map(({ news }) => news.boardUuid))];
  const membersOf = await members.find(manager, asked, boards);
  const pairs = named.filter(({ rule, news }) => membersOf.get(rule.id)?.has(news.boardUuid));
  const states = await readStates(
    manager,
    [...new Set(pairs.map(({ rule }) => rule))],
    [...new Set(pairs.map(({ news }) => news.streamId))],
  );
  const changes: Change[] = [];
  for (const { rule, news } of pairs) {
    const { boardUuid, streamId, stream, readings } = news;
    const known = states.get(keyOf({ ruleId: rule.id, streamId, boardUuid }));
    const watched = known ? { ...known, stream } : newWatched(rule, { boardUuid, streamId, stream });
    changes.push({ watched, step: await evaluate(manager, watched, readings, now) });
  }
  return changes;
}

async function evaluate(
  manager: EntityManager,
  { rule, watch, streamId }: Watched,
  readings: readonly WatchedReading[],
  now: number,
): Promise<Step> {
  if (rule.condition.kind === 'noData') return takeData(rule, watch, readings, now);
  const { late, inOrder } = splitLate(watch, readings, now);
  const window = reviewWindow(rule, watch, late);
  if (!window) return takeReadings(rule, watch, inOrder, now);
  const stored = await readStored(manager, streamId, window);
  const review = reviewRun(rule, watch, { stored, late, now });
  const step = takeReadings(rule, review.watch, inOrder, now);
  return { watch: step.watch, transitions: [...review.transitions, ...step.transitions] };
}

interface ReadingRow {
  at: number | string;
  number: number | null;
  text: string | null;
}

/** Those of the window and the one before, if that one holds as far; the newest, oldest first. */
async function readStored(
  manager: EntityManager,
  streamId: number,
  { from, to }: { from: number; to: number },
): Promise<WatchedReading[]> {
  const select = 'SELECT at, value_number AS number, value_text AS text FROM readings WHERE stream_id = ?';
  const order = 'ORDER BY at DESC, spool_id DESC, seq DESC LIMIT';
  const within = (await manager.query(`${select} AND at BETWEEN ? AND ? ${order} ?`, [
    streamId,
    from,
    to,
    reviewedReadings,
  ])) as ReadingRow[];
  const before =
    within.length < reviewedReadings
      ? ((await manager.query(`${select} AND at < ? AND at >= ? ${order} 1`, [
          streamId,
          from,
          from - (to - from) - holdMs,
        ])) as ReadingRow[])
      : [];
  return [...within, ...before]
    .map(({ at, number, text }) => ({ at: Number(at), value: number ?? text ?? 0 }))
    .reverse();
}
