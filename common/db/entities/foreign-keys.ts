/** Rows that belong to a tenant or a board, and go with it. */
import type { EntitySchemaOptions } from 'typeorm';

type ForeignKeys = NonNullable<EntitySchemaOptions<object>['foreignKeys']>;

export const ofTenant = (name: string): ForeignKeys => goesWith(name, 'Tenant', 'tenantId', 'id');

export const ofBoard = (name: string): ForeignKeys => goesWith(name, 'Board', 'boardUuid', 'uuid');

export function goesWith(name: string, target: string, column: string, key: string): ForeignKeys {
  return [
    {
      name,
      target,
      columnNames: [column],
      referencedColumnNames: [key],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
  ];
}
