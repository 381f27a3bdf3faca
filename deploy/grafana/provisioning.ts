/** The files of a Grafana: data sources, where dashboards are, and the dashboards. No secret is in them. */
import { stringify } from 'yaml';
import { createDashboard, type DataSourceType, dataSourceUid, type GrafanaTenant } from './dashboard.ts';
import type { ModuleKind } from './kinds.ts';

export interface ProvisioningOptions {
  tenant: GrafanaTenant;
  kinds: readonly ModuleKind[];
  dataSources: readonly DataSourceType[];
  /** Where Grafana will find the folder `dashboards`. */
  dashboardsPath: string;
}

/** Everything that is generated below `dashboards` begins so: what begins so and is not generated any more goes. */
export const dashboardPrefix = 'boardwalk-';

/** Path → content, in the order of their paths. */
export function createProvisioning(options: ProvisioningOptions): Map<string, string> {
  const { tenant, kinds, dataSources } = options;
  const files = new Map<string, string>();
  for (const kind of kinds)
    for (const type of dataSources)
      files.set(
        `dashboards/${dashboardPrefix}${kind.slug}-${type}.json`,
        `${JSON.stringify(createDashboard(tenant, kind, type), null, 2)}\n`,
      );
  files.set('provisioning/dashboards/boardwalk.yaml', provider(options));
  files.set('provisioning/datasources/boardwalk.yaml', dataSourcesFile(dataSources));
  return files;
}

function provider({ tenant, dashboardsPath }: ProvisioningOptions): string {
  return stringify({
    apiVersion: 1,
    providers: [
      {
        name: `boardwalk-${tenant.id}`,
        orgId: 1,
        folder: `Boardwalk ${tenant.name}`,
        type: 'file',
        disableDeletion: false,
        allowUiUpdates: false,
        updateIntervalSeconds: 30,
        options: { path: dashboardsPath, foldersFromFilesStructure: false },
      },
    ],
  });
}

/**
 * `$NAME`, not `${NAME}`: Grafana expands what came from the latter for a second time, and a password
 * may hold a dollar sign.
 */
const sources: Record<DataSourceType, object> = {
  mysql: {
    name: 'Boardwalk database',
    type: 'mysql',
    uid: dataSourceUid('mysql'),
    access: 'proxy',
    url: '$BOARDWALK_GRAFANA_MYSQL_ADDRESS',
    user: '$BOARDWALK_GRAFANA_MYSQL_USER',
    jsonData: { database: '$BOARDWALK_GRAFANA_MYSQL_DATABASE', maxOpenConns: 10, maxIdleConns: 2 },
    secureJsonData: { password: '$BOARDWALK_GRAFANA_MYSQL_PASSWORD' },
    editable: false,
  },
  influxdb: {
    name: 'Boardwalk InfluxDB',
    type: 'influxdb',
    uid: dataSourceUid('influxdb'),
    access: 'proxy',
    url: '$BOARDWALK_GRAFANA_INFLUX_URL',
    user: '$BOARDWALK_GRAFANA_INFLUX_USER',
    jsonData: { dbName: '$BOARDWALK_GRAFANA_INFLUX_DATABASE', httpMode: 'POST' },
    secureJsonData: { password: '$BOARDWALK_GRAFANA_INFLUX_PASSWORD' },
    editable: false,
  },
};

function dataSourcesFile(types: readonly DataSourceType[]): string {
  return stringify({ apiVersion: 1, datasources: types.map((type) => sources[type]) });
}
