/** How every sink stands, for the metrics. */
import type { EntityManager } from 'typeorm';
import { findStandings, noStanding } from '../../common/db/queries/outbox.ts';

export interface SinkStanding {
  id: string;
  kind: string;
  waiting: number;
  lagSeconds: number;
  deadLetters: number;
  lost: number;
}

export async function findSinkStandings(manager: EntityManager): Promise<SinkStanding[]> {
  const rows = (await manager.query(
    `SELECT s.id, s.kind, c.lost,
            (SELECT COUNT(*) FROM sink_dead_letters l WHERE l.sink_id = s.id) AS deadLetters
     FROM sinks s JOIN reading_consumers c ON c.id = s.id`,
  )) as { id: string; kind: string; lost: number | string; deadLetters: number | string }[];
  const standings = await findStandings(
    manager,
    rows.map(({ id }) => id),
  );
  return rows.map(({ id, kind, lost, deadLetters }) => ({
    id,
    kind,
    lost: Number(lost),
    deadLetters: Number(deadLetters),
    ...(standings.get(id) ?? noStanding),
  }));
}
