/** Roles in a tenant keep IoTronic's names; `admin` is the installation's own. */
export const tenantRoles = ['admin_iot_project', 'manager_iot_project', 'user_iot'] as const;
export type TenantRole = (typeof tenantRoles)[number];

/** Those that start operations in their tenant, now and later. */
export const operatingRoles = ['admin_iot_project', 'manager_iot_project'] as const;

export function isOperatingRole(value: unknown): boolean {
  return operatingRoles.some((role) => role === value);
}

export function isTenantRole(value: unknown): value is TenantRole {
  return tenantRoles.some((role) => role === value);
}
