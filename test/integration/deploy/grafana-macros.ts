/** What Grafana makes of a query before it runs it, as the pages of its data sources and variables say. */

export interface PanelTime {
  fromMs: number;
  toMs: number;
  intervalMs: number;
}

export type Chosen = Record<string, string[]>;

const seconds = (ms: number) => Math.floor(ms / 1000);

function interval(ms: number): string {
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  return `${ms / 1000}s`;
}

/** `${name:sqlstring}` quotes each value; `${name:regex}` makes one pattern of them. */
function fillVariables(query: string, chosen: Chosen): string {
  return query.replaceAll(/\$\{(\w+):(\w+)\}/g, (whole, name: string, format: string) => {
    const values = chosen[name];
    if (!values) throw new Error(`no such variable: ${whole}`);
    if (format === 'sqlstring') return values.map((each) => `'${each.replaceAll("'", "''")}'`).join(',');
    if (format !== 'regex') throw new Error(`no such format: ${whole}`);
    const escaped = values.map((each) => each.replaceAll(/[\\^$*+?.()|[\]{}/]/g, '\\$&'));
    return escaped.length === 1 ? (escaped[0] ?? '') : `(${escaped.join('|')})`;
  });
}

function requireDone(query: string): string {
  const left = /\$\w+|\$\{/.exec(query);
  if (left) throw new Error(`not a macro that Grafana documents: ${left[0]} in ${query}`);
  return query;
}

export function expandSql(query: string, time: PanelTime, chosen: Chosen): string {
  const width = time.intervalMs / 1000;
  const expanded = fillVariables(query, chosen)
    .replaceAll('$__interval_ms', String(time.intervalMs))
    .replaceAll('$__interval', interval(time.intervalMs))
    .replaceAll('$__unixEpochFrom()', String(seconds(time.fromMs)))
    .replaceAll('$__unixEpochTo()', String(seconds(time.toMs)))
    .replaceAll(
      /\$__unixEpochGroupAlias\(([^),]+),\s*([^)]+)\)/g,
      (_whole, column: string, every: string) => {
        if (every !== interval(time.intervalMs)) throw new Error(`no interval: ${every}`);
        return `${column} DIV ${width} * ${width} AS "time"`;
      },
    );
  return requireDone(expanded);
}

export function expandInfluxql(query: string, time: PanelTime, chosen: Chosen): string {
  const expanded = fillVariables(query, chosen)
    .replaceAll('$timeFilter', `time >= ${time.fromMs}ms and time <= ${time.toMs}ms`)
    .replaceAll('$__interval', interval(time.intervalMs));
  // A dollar sign at the end of a pattern is none of Grafana's.
  requireDone(expanded.replaceAll('$/', '/'));
  return expanded;
}
