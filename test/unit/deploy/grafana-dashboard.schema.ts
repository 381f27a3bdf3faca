/**
 * The parts of Grafana's classic dashboard model that are generated, as its documentation has them
 * ("Dashboard JSON model", and the pages of the panels, of variables, and of the two data sources).
 * Strict: what is not written here is not generated.
 */
const text = { type: 'string', minLength: 1 } as const;
const whole = { type: 'integer', minimum: 0 } as const;
const closed = (properties: object, optional: readonly string[] = []) => ({
  type: 'object',
  additionalProperties: false,
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});

const dataSource = closed({ type: { enum: ['mysql', 'influxdb'] }, uid: text });
const legend = closed({
  displayMode: { enum: ['list', 'table', 'hidden'] },
  placement: { enum: ['bottom', 'right'] },
  showLegend: { type: 'boolean' },
});
const tooltip = closed({
  mode: { enum: ['single', 'multi', 'none'] },
  sort: { enum: ['none', 'asc', 'desc'] },
});

const valueMapping = closed({
  type: { const: 'value' },
  options: {
    type: 'object',
    additionalProperties: closed({ text, color: text, index: whole }),
  },
});

const mysqlTarget = closed({
  refId: { type: 'string', pattern: '^[A-Z]$' },
  datasource: dataSource,
  editorMode: { enum: ['builder', 'code'] },
  format: { enum: ['time_series', 'table'] },
  rawQuery: { const: true },
  rawSql: text,
});
const influxTarget = closed(
  {
    refId: { type: 'string', pattern: '^[A-Z]$' },
    datasource: dataSource,
    rawQuery: { const: true },
    resultFormat: { enum: ['time_series', 'table', 'logs'] },
    query: text,
    alias: text,
  },
  ['alias'],
);

const panelBase = {
  id: { type: 'integer', minimum: 1 },
  title: text,
  datasource: dataSource,
  gridPos: closed({
    x: { type: 'integer', minimum: 0, maximum: 23 },
    y: whole,
    w: { type: 'integer', minimum: 1, maximum: 24 },
    h: { type: 'integer', minimum: 1 },
  }),
  targets: { type: 'array', minItems: 1, items: { anyOf: [mysqlTarget, influxTarget] } },
  interval: { type: 'string', pattern: '^[0-9]+(ms|s|m|h|d)$' },
  transparent: { type: 'boolean' },
};
const fieldConfig = (defaults: object) =>
  closed({ defaults: closed(defaults), overrides: { type: 'array', maxItems: 0 } });

const panels = [
  closed({
    ...panelBase,
    type: { const: 'timeseries' },
    fieldConfig: fieldConfig({
      unit: text,
      custom: closed({
        drawStyle: { enum: ['line', 'bars', 'points'] },
        lineWidth: { type: 'integer', minimum: 0, maximum: 10 },
        fillOpacity: { type: 'integer', minimum: 0, maximum: 100 },
        showPoints: { enum: ['auto', 'always', 'never'] },
        spanNulls: { type: ['boolean', 'number'] },
      }),
    }),
    options: closed({ legend, tooltip }),
  }),
  closed({
    ...panelBase,
    type: { const: 'state-timeline' },
    fieldConfig: fieldConfig({
      custom: closed({
        lineWidth: { type: 'integer', minimum: 0, maximum: 10 },
        fillOpacity: { type: 'integer', minimum: 0, maximum: 100 },
      }),
      mappings: { type: 'array', items: valueMapping },
    }),
    options: closed({
      mergeValues: { type: 'boolean' },
      showValue: { enum: ['auto', 'always', 'never'] },
      alignValue: { enum: ['left', 'center', 'right'] },
      rowHeight: { type: 'number', minimum: 0, maximum: 1 },
      legend,
      tooltip,
    }),
  }),
  closed({
    ...panelBase,
    type: { const: 'table' },
    fieldConfig: fieldConfig({ custom: closed({ align: { enum: ['auto', 'left', 'center', 'right'] } }) }),
    options: closed({ showHeader: { type: 'boolean' }, cellHeight: { enum: ['sm', 'md', 'lg'] } }),
  }),
];

const variable = closed({
  name: { type: 'string', pattern: '^[A-Za-z0-9_]+$' },
  label: text,
  type: { const: 'query' },
  datasource: dataSource,
  definition: text,
  query: text,
  regex: { type: 'string' },
  refresh: { enum: [0, 1, 2] },
  sort: { type: 'integer', minimum: 0, maximum: 8 },
  multi: { type: 'boolean' },
  includeAll: { type: 'boolean' },
  hide: { enum: [0, 1, 2] },
  current: closed({
    selected: { type: 'boolean' },
    text: { type: 'array', items: text },
    value: { type: 'array', items: text },
  }),
  options: { type: 'array', maxItems: 0 },
});

export const dashboardSchema = closed({
  id: { type: 'null' },
  uid: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,40}$' },
  title: text,
  tags: { type: 'array', items: text },
  timezone: { enum: ['browser', 'utc', ''] },
  editable: { type: 'boolean' },
  graphTooltip: { enum: [0, 1, 2] },
  refresh: { type: 'string', pattern: '^([0-9]+[smhd])?$' },
  schemaVersion: { type: 'integer', minimum: 36 },
  version: whole,
  time: closed({ from: text, to: text }),
  timepicker: { type: 'object' },
  annotations: closed({ list: { type: 'array' } }),
  links: { type: 'array' },
  templating: closed({ list: { type: 'array', items: variable } }),
  panels: { type: 'array', minItems: 1, items: { oneOf: panels } },
});
