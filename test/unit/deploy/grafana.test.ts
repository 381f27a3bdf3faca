import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { groupByKind, type Measurement, type SeenModule } from '../../../deploy/grafana/kinds.ts';
import { quote } from '../../../deploy/grafana/mysql-queries.ts';
import { createProvisioning } from '../../../deploy/grafana/provisioning.ts';
import { toGrafanaUnit } from '../../../deploy/grafana/units.ts';
import { dashboardSchema } from './grafana-dashboard.schema.ts';

const temp: Measurement = { name: 'temp', type: 'number', unit: 'Cel' };
const hum: Measurement = { name: 'hum', type: 'number', unit: '%' };
const on: Measurement = { name: 'on', type: 'boolean', unit: '' };
const state: Measurement = { name: 'state', type: 'text', unit: '' };

const moduleOf = (name: string, measurements: Measurement[], kind: string | null = null): SeenModule => ({
  name,
  kind,
  measurements,
});

const modules = [
  moduleOf('sensor_1', [temp, hum]),
  moduleOf('sensor_2', [hum, temp]),
  moduleOf('hv', [on, { name: '0/vmeas', type: 'number', unit: 'V' }], 'crate'),
  moduleOf('lv', [state], 'crate'),
  moduleOf('idle', []),
];
const tenant = { id: '11111111-1111-4111-8111-111111111111', name: "Lyon's lab" };

function generate(seen: readonly SeenModule[] = modules): Map<string, string> {
  return createProvisioning({
    tenant,
    kinds: groupByKind(seen),
    dataSources: ['mysql', 'influxdb'],
    dashboardsPath: '/var/lib/grafana/dashboards/boardwalk',
  });
}

const dashboards = () => [...generate()].filter(([path]) => path.endsWith('.json'));

describe('kinds of modules', () => {
  it('are those of one kind, else those that measure the same, named by what they have in common', () => {
    expect(groupByKind(modules)).toMatchObject([
      { slug: 'crate', kind: 'crate', modules: ['hv', 'lv'], measurements: { length: 3 } },
      { slug: 'sensor', kind: null, modules: ['sensor_1', 'sensor_2'], measurements: [hum, temp] },
    ]);
  });

  it('with titles that look alike are told apart', () => {
    const [one, other] = groupByKind([moduleOf('a', [temp], 'HV'), moduleOf('b', [temp], 'hv')]);
    expect(one?.slug).toMatch(/^hv-[0-9a-f]{6}$/);
    expect(other?.slug).toMatch(/^hv-[0-9a-f]{6}$/);
    expect(one?.slug).not.toBe(other?.slug);
  });

  it('with other units are other kinds', () => {
    expect(groupByKind([moduleOf('ab1', [temp]), moduleOf('ab2', [{ ...temp, unit: 'K' }])])).toHaveLength(2);
  });
});

describe('what is generated for Grafana', () => {
  it('is the same, byte for byte, whatever the order in which modules are found', () => {
    const other = modules
      .toReversed()
      .map((each) => ({ ...each, measurements: each.measurements.toReversed() }));
    expect([...generate(other)]).toEqual([...generate()]);
  });

  it('is one dashboard for each kind and data source, as the documented model has it', () => {
    const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile(dashboardSchema);
    expect(dashboards().map(([path]) => path)).toEqual([
      'dashboards/boardwalk-crate-mysql.json',
      'dashboards/boardwalk-crate-influxdb.json',
      'dashboards/boardwalk-sensor-mysql.json',
      'dashboards/boardwalk-sensor-influxdb.json',
    ]);
    for (const [path, content] of dashboards()) {
      validate(JSON.parse(content));
      expect(validate.errors ?? [], path).toEqual([]);
    }
    const uids = dashboards().map(([, content]) => JSON.parse(content).uid as string);
    expect(new Set(uids).size).toBe(uids.length);
  });

  it('is refused by that model as soon as something is missing or unknown', () => {
    const validate = new Ajv({ allowUnionTypes: true }).compile(dashboardSchema);
    const [, content] = dashboards()[0] as [string, string];
    const dashboard = JSON.parse(content);
    expect(validate({ ...dashboard, uid: 'a b' })).toBe(false);
    expect(validate({ ...dashboard, colour: 'red' })).toBe(false);
    expect(validate({ ...dashboard, panels: [{ ...dashboard.panels[0], gridPos: undefined }] })).toBe(false);
  });

  it('has a panel for each measurement that fits its type, none over another', () => {
    const [, content] = dashboards()[0] as [string, string];
    const { panels } = JSON.parse(content);
    expect(panels.map((each: { title: string; type: string }) => `${each.title}: ${each.type}`)).toEqual([
      '0/vmeas [V]: timeseries',
      'on: state-timeline',
      'state: table',
    ]);
    const places = panels.map(({ gridPos: { x, y } }: { gridPos: { x: number; y: number } }) => `${x} ${y}`);
    expect(new Set(places).size).toBe(panels.length);
  });

  it('has YAML that Grafana reads, with secrets from its environment only', () => {
    const files = generate();
    const sources = parse(files.get('provisioning/datasources/boardwalk.yaml') ?? '');
    expect(sources).toMatchObject({
      apiVersion: 1,
      datasources: [
        { type: 'mysql', uid: 'boardwalk-mysql' },
        { type: 'influxdb', uid: 'boardwalk-influxdb' },
      ],
    });
    for (const { user, secureJsonData } of sources.datasources)
      for (const each of [user, ...Object.values(secureJsonData)])
        expect(each).toMatch(/^\$BOARDWALK_GRAFANA_[A-Z_]+$/);
    const uids = new Set(sources.datasources.map((each: { uid: string }) => each.uid));
    for (const [, content] of dashboards())
      for (const panel of JSON.parse(content).panels) expect(uids).toContain(panel.datasource.uid);
    expect(parse(files.get('provisioning/dashboards/boardwalk.yaml') ?? '')).toMatchObject({
      apiVersion: 1,
      providers: [
        {
          type: 'file',
          folder: "Boardwalk Lyon's lab",
          options: { path: '/var/lib/grafana/dashboards/boardwalk' },
        },
      ],
    });
  });
});

it('units are those of Grafana, and others are shown as they are', () => {
  expect(['Cel', '%', 'V', '', 'counts'].map(toGrafanaUnit)).toEqual([
    'celsius',
    'percent',
    'volt',
    'short',
    'suffix: counts',
  ]);
});

it('what is quoted for SQL stays one literal', () => {
  expect(quote("a'b\\")).toBe("'a''b\\\\'");
});
