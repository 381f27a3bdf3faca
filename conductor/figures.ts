/** Figures that are looked up now and then, not counted as things happen; and how many conductors share the work. */

import { severities } from '../common/alarms/rules.ts';
import type { Database } from '../common/db/database.ts';
import { countDueBoards } from '../common/db/queries/board-queues.ts';
import { findLiveConductors } from '../common/db/queries/conductors.ts';
import { every, type RepeatingTask } from '../common/runtime/every.ts';
import type { Logger } from '../common/runtime/logger.ts';
import { countOpenAlarms } from './alarms/work.ts';
import type { Engine } from './engine/engine.ts';
import type { ConductorMetrics } from './metrics.ts';
import { findSinkStandings } from './sinks/standings.ts';

export interface FiguresOptions {
  database: Database;
  engine: Pick<Engine, 'setConductors' | 'inFlight'>;
  metrics: ConductorMetrics;
  logger: Logger;
}

const queueMs = 2000;
const queueCountedTo = 10_000;
/** What waits for sinks is added up from all that waits: seldom enough to cost little, often enough to be seen. */
const standingsMs = 10_000;

export function startFigures({ database, engine, metrics, logger }: FiguresOptions): RepeatingTask {
  async function readQueue(): Promise<void> {
    const run = { deadlineMs: queueMs };
    engine.setConductors((await database.read(findLiveConductors, run)).length);
    const depth = await database.read((manager) => countDueBoards(manager, queueCountedTo), run);
    for (const [lane, boards] of Object.entries(depth)) metrics.queueDepth.set({ lane }, boards);
    metrics.operationsInFlight.set(engine.inFlight());
  }

  async function readStandings(): Promise<void> {
    const run = { deadlineMs: standingsMs };
    const open = await database.read(countOpenAlarms, run);
    for (const severity of severities) metrics.alarmsOpen.set({ severity }, open.get(severity) ?? 0);
    const sinks = await database.read(findSinkStandings, run);
    // Sinks that are gone leave the table.
    for (const gauge of Object.values(metrics.sinks)) gauge.reset();
    for (const { id, kind, ...standing } of sinks)
      for (const [name, value] of Object.entries(standing))
        metrics.sinks[name as keyof typeof standing].set({ sink: id, kind }, value);
  }

  const tasks = [
    every({ name: 'queue', intervalMs: queueMs, logger }, readQueue),
    every({ name: 'standings', intervalMs: standingsMs, logger }, readStandings),
  ];
  return {
    async stop() {
      await Promise.all(tasks.map((each) => each.stop()));
    },
  };
}
