/** What a tenant may use. A limit that is not there is the installation's; one that is nowhere, none. */
import type { EnvReader } from '../runtime/config.ts';
import { asInteger, asObject, type JsonObject } from '../runtime/guards.ts';
import { fromJsonColumn } from './json-column.ts';

export const quotaNames = [
  'boards',
  'schedules',
  'openOperations',
  'operationsPerDay',
  'readingsPerDay',
] as const;
export type QuotaName = (typeof quotaNames)[number];

export type QuotaLimits = { readonly [Name in QuotaName]?: number };

/** As in the contract of `PUT /v1/tenants/{tenant}/quotas`. */
const highest: Readonly<Record<QuotaName, number>> = {
  boards: 10_000_000,
  schedules: 1_000_000,
  openOperations: 10_000_000,
  operationsPerDay: 1_000_000_000,
  readingsPerDay: 1_000_000_000_000,
};

const variables: Readonly<Record<QuotaName, string>> = {
  boards: 'BOARDWALK_QUOTA_BOARDS',
  schedules: 'BOARDWALK_QUOTA_SCHEDULES',
  openOperations: 'BOARDWALK_QUOTA_OPEN_OPERATIONS',
  operationsPerDay: 'BOARDWALK_QUOTA_OPERATIONS_PER_DAY',
  readingsPerDay: 'BOARDWALK_QUOTA_READINGS_PER_DAY',
};

/** The installation's own limits; the same variables for every process that asks. */
export function readQuotaDefaults(reader: EnvReader): QuotaLimits {
  return Object.fromEntries(
    quotaNames
      .filter((name) => reader.optional(variables[name]) !== undefined)
      .map((name) => [name, reader.integer(variables[name], 0, { min: 0, max: highest[name] })]),
  );
}

/** From the column `tenants.quotas`: MariaDB gives JSON as text, MySQL parsed. */
export function parseQuotaLimits(column: string | JsonObject | null): QuotaLimits {
  if (column === null) return {};
  const input = asObject(fromJsonColumn(column), 'quotas');
  return Object.fromEntries(
    quotaNames
      .filter((name) => input[name] !== undefined)
      .map((name) => [name, asInteger(input[name], name, { min: 0, max: highest[name] })]),
  );
}
