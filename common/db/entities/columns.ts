/** Column shorthands, so that an entity reads like its table. They mirror the migrations; a drift test proves it. */
import type { EntitySchemaColumnOptions } from 'typeorm';

const asciiBin = { charset: 'ascii', collation: 'ascii_bin' } as const;
const unicode = { charset: 'utf8mb4', collation: 'utf8mb4_unicode_ci' } as const;

type Extra = Partial<EntitySchemaColumnOptions>;

export const uuid = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'char',
  length: 36,
  ...asciiBin,
  ...extra,
});
export const hash = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'char',
  length: 64,
  ...asciiBin,
  ...extra,
});
export const ascii = (name: string, length: number, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'varchar',
  length,
  ...asciiBin,
  ...extra,
});
export const text = (name: string, length: number, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'varchar',
  length,
  ...unicode,
  ...extra,
});
export const time = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'datetime',
  precision: 3,
  ...extra,
});
export const json = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'json',
  ...extra,
});
export const double = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'double',
  ...extra,
});
export const whole = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'int',
  unsigned: true,
  ...extra,
});
export const big = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'bigint',
  unsigned: true,
  transformer: {
    from: (value: string | number | null) => (value === null ? null : Number(value)),
    to: (value: unknown) => value,
  },
  ...extra,
});
/** A flag: true and false in code, 1 and 0 in the table. */
export const flag = (name: string, extra: Extra = {}): EntitySchemaColumnOptions => ({
  name,
  type: 'tinyint',
  transformer: {
    from: (value: number | null) => value === 1,
    to: (value: unknown) => (typeof value === 'boolean' ? Number(value) : value),
  },
  ...extra,
});
export const nullable = { nullable: true } as const;
