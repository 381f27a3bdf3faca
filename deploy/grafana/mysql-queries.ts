/**
 * SQL of the panels, with Grafana's macros. Narrow intervals read readings; from a minute on the
 * rollups answer, and readings only for hours whose rollups are not right yet (rollup_dirty_hours),
 * as the API does it. Readings are below the primary key (stream, time), so each part is a range.
 */
import { hourMs, minuteMs, rollupLevels } from '../../common/db/queries/rollups.ts';
import type { Measurement, ModuleKind } from './kinds.ts';

/** A SQL literal: what comes from outside is quoted, also where its pattern leaves nothing to quote. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

const moduleOf = "SUBSTRING_INDEX(s.name, '/', 1)";
const measurementOf = "SUBSTRING(s.name, LOCATE('/', s.name) + 1)";

export function boardsQuery(tenantId: string): string {
  return `SELECT b.name AS __text, b.uuid AS __value FROM boards b WHERE b.tenant_id = ${quote(tenantId)} ORDER BY b.name`;
}

/** Modules of the boards that are chosen: those of the kind, or those that measure all that it does. */
export function modulesQuery(tenantId: string, { kind, measurements }: ModuleKind): string {
  if (kind !== null)
    return `SELECT DISTINCT m.name FROM modules m WHERE m.tenant_id = ${quote(tenantId)} AND m.board_uuid IN (\${board:sqlstring}) AND m.kind = ${quote(kind)} ORDER BY m.name`;
  const names = [...new Set(measurements.map((each) => each.name))];
  return `SELECT DISTINCT found.module FROM (SELECT s.board_uuid, ${moduleOf} AS module FROM boards b JOIN streams s ON s.board_uuid = b.uuid WHERE b.tenant_id = ${quote(tenantId)} AND b.uuid IN (\${board:sqlstring}) AND ${measurementOf} IN (${names.map(quote).join(', ')}) GROUP BY 1, 2 HAVING COUNT(*) = ${names.length}) found ORDER BY found.module`;
}

/** @param join more tables, below boards b and streams s */
function from(tenantId: string, { name, type, unit }: Measurement, join = ''): string {
  return `FROM boards b
    JOIN streams s ON s.board_uuid = b.uuid${join}
  WHERE b.tenant_id = ${quote(tenantId)} AND b.uuid IN (\${board:sqlstring})
    AND ${moduleOf} IN (\${module:sqlstring}) AND ${measurementOf} = ${quote(name)}
    AND s.type = ${quote(type)} AND s.unit = ${quote(unit)}`;
}

const window = (column: string) =>
  `${column} >= $__unixEpochFrom() * 1000 AND ${column} <= $__unixEpochTo() * 1000`;
const label = `CONCAT(b.name, ' ', ${moduleOf}) AS metric`;

/** Means of numbers; of booleans, whether they were true at any time in the interval. */
export function seriesQuery(tenantId: string, measurement: Measurement): string {
  const isFlag = measurement.type === 'boolean';
  const raw = 'r.value_number AS total, 1 AS n';
  const rolled = isFlag ? 'r.max AS total, 1 AS n' : 'r.sum AS total, r.reading_count AS n';
  const part = (columns: string, join: string, where: string) =>
    `  SELECT ${label}, r.at, ${columns}
  ${from(tenantId, measurement, join)}
    AND ${window('r.at')}
    AND ${where}`;
  const readings = '\n    JOIN readings r ON r.stream_id = s.id';
  const dirty = '\n    JOIN rollup_dirty_hours d ON d.stream_id = s.id';
  const hasValue = 'r.value_number IS NOT NULL';
  const clean = `NOT EXISTS (SELECT 1 FROM rollup_dirty_hours d WHERE d.stream_id = r.stream_id AND d.hour_at = r.at - r.at MOD ${hourMs})`;
  const rollup = (level: number, where: string) =>
    part(
      rolled,
      '\n    JOIN reading_rollups r ON r.stream_id = s.id',
      `r.level = ${level} AND ${where} AND ${clean}`,
    );
  const parts = [
    part(raw, readings, `${hasValue} AND $__interval_ms < ${minuteMs}`),
    rollup(rollupLevels.minute, `$__interval_ms >= ${minuteMs} AND $__interval_ms < ${hourMs}`),
    rollup(rollupLevels.hour, `$__interval_ms >= ${hourMs}`),
    part(
      raw,
      `${dirty}${readings} AND r.at >= d.hour_at AND r.at < d.hour_at + ${hourMs}`,
      `${hasValue} AND $__interval_ms >= ${minuteMs}`,
    ),
  ];
  const value = isFlag ? 'MAX(p.total)' : 'SUM(p.total) / SUM(p.n)';
  return `SELECT $__unixEpochGroupAlias(p.at DIV 1000, $__interval), p.metric, ${value} AS value
FROM (
${parts.join('\nUNION ALL\n')}
) p
GROUP BY 1, 2
ORDER BY 1`;
}

/** The last texts, one row for each module. */
export function lastTextsQuery(tenantId: string, measurement: Measurement): string {
  return `SELECT s.last_at DIV 1000 AS time, b.name AS board, ${moduleOf} AS module, s.last_text AS value
${from(tenantId, measurement)}
    AND s.last_at IS NOT NULL
ORDER BY b.name, module`;
}
