/**
 * A dashboard of one kind of modules, in Grafana's classic JSON model: numbers as time series, booleans
 * as state timelines, texts as a table of the last ones. The same input gives the same bytes.
 */
import {
  influxBoardsQuery,
  influxLastTextsQuery,
  influxModulePattern,
  influxModulesQuery,
  influxSeriesQuery,
} from './influx-queries.ts';
import { type Measurement, type ModuleKind, shortHash } from './kinds.ts';
import { boardsQuery, lastTextsQuery, modulesQuery, seriesQuery } from './mysql-queries.ts';
import { toGrafanaUnit } from './units.ts';

export const dataSourceTypes = ['mysql', 'influxdb'] as const;
export type DataSourceType = (typeof dataSourceTypes)[number];

export const dataSourceUid = (type: DataSourceType) => `boardwalk-${type}`;

export interface GrafanaTenant {
  id: string;
  name: string;
}

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
export type JsonTree = { [name: string]: Json };

/** Of Grafana 11; newer ones bring it up to date when they read it. */
const schemaVersion = 39;
const columns = 24;
const heights = { number: 8, boolean: 5, text: 6 } as const;

export function createDashboard(tenant: GrafanaTenant, kind: ModuleKind, type: DataSourceType): JsonTree {
  return {
    id: null,
    uid: `bw-${shortHash(`${tenant.id} ${kind.slug} ${type}`, 20)}`,
    title: `${kind.title} (${type === 'mysql' ? 'database' : 'InfluxDB'})`,
    tags: ['boardwalk', kind.slug],
    timezone: 'browser',
    editable: true,
    graphTooltip: 1,
    refresh: '10s',
    schemaVersion,
    version: 1,
    time: { from: 'now-1h', to: 'now' },
    timepicker: {},
    annotations: { list: [] },
    links: [],
    templating: { list: variables(tenant, kind, type) },
    panels: placed(kind.measurements, tenant, type),
  };
}

function variables(tenant: GrafanaTenant, kind: ModuleKind, type: DataSourceType): JsonTree[] {
  const isSql = type === 'mysql';
  return [
    variable('board', 'Board', type, isSql ? boardsQuery(tenant.id) : influxBoardsQuery),
    variable(
      'module',
      'Module',
      type,
      isSql ? modulesQuery(tenant.id, kind) : influxModulesQuery,
      isSql ? '' : influxModulePattern(kind),
    ),
  ];
}

function variable(name: string, label: string, type: DataSourceType, query: string, regex = ''): JsonTree {
  return {
    name,
    label,
    type: 'query',
    datasource: dataSource(type),
    definition: query,
    query,
    regex,
    // On loading and whenever the time range changes.
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    hide: 0,
    current: { selected: true, text: ['All'], value: ['$__all'] },
    options: [],
  };
}

const dataSource = (type: DataSourceType): JsonTree => ({ type, uid: dataSourceUid(type) });

/** Two panels in a row; the ids are their places. */
function placed(
  measurements: readonly Measurement[],
  tenant: GrafanaTenant,
  type: DataSourceType,
): JsonTree[] {
  let top = 0;
  let rowHeight = 0;
  return measurements.map((measurement, index) => {
    const isLeft = index % 2 === 0;
    if (isLeft) top += rowHeight;
    const height = heights[measurement.type];
    rowHeight = isLeft ? height : Math.max(rowHeight, height);
    const gridPos = { x: isLeft ? 0 : columns / 2, y: top, w: columns / 2, h: height };
    return { id: index + 1, gridPos, ...createPanel(measurement, tenant, type) };
  });
}

function createPanel(measurement: Measurement, tenant: GrafanaTenant, type: DataSourceType): JsonTree {
  const { name, unit } = measurement;
  return {
    title: unit === '' ? name : `${name} [${unit}]`,
    datasource: dataSource(type),
    targets: [createTarget(measurement, tenant, type)],
    // Grafana asks for at most one point for each of so many seconds.
    interval: '1s',
    transparent: false,
    ...looks[measurement.type](measurement),
  };
}

const looks: Record<Measurement['type'], (measurement: Measurement) => JsonTree> = {
  number: ({ unit }) => ({
    type: 'timeseries',
    fieldConfig: {
      defaults: {
        unit: toGrafanaUnit(unit),
        custom: { drawStyle: 'line', lineWidth: 1, fillOpacity: 0, showPoints: 'auto', spanNulls: false },
      },
      overrides: [],
    },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'multi', sort: 'none' },
    },
  }),
  boolean: () => ({
    type: 'state-timeline',
    fieldConfig: {
      defaults: {
        custom: { lineWidth: 0, fillOpacity: 70 },
        mappings: [
          {
            type: 'value',
            options: {
              '0': { text: 'off', color: 'blue', index: 0 },
              '1': { text: 'on', color: 'green', index: 1 },
              false: { text: 'off', color: 'blue', index: 2 },
              true: { text: 'on', color: 'green', index: 3 },
            },
          },
        ],
      },
      overrides: [],
    },
    options: {
      mergeValues: true,
      showValue: 'auto',
      alignValue: 'left',
      rowHeight: 0.9,
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'single', sort: 'none' },
    },
  }),
  text: () => ({
    type: 'table',
    fieldConfig: { defaults: { custom: { align: 'auto' } }, overrides: [] },
    options: { showHeader: true, cellHeight: 'sm' },
  }),
};

function createTarget(measurement: Measurement, tenant: GrafanaTenant, type: DataSourceType): JsonTree {
  const isText = measurement.type === 'text';
  if (type === 'mysql') {
    return {
      refId: 'A',
      datasource: dataSource(type),
      editorMode: 'code',
      format: isText ? 'table' : 'time_series',
      rawQuery: true,
      rawSql: (isText ? lastTextsQuery : seriesQuery)(tenant.id, measurement),
    };
  }
  return {
    refId: 'A',
    datasource: dataSource(type),
    rawQuery: true,
    resultFormat: isText ? 'table' : 'time_series',
    query: (isText ? influxLastTextsQuery : influxSeriesQuery)(measurement),
    ...(!isText && { alias: '$tag_board $tag_module' }),
  };
}
