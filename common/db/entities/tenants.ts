import { EntitySchema } from 'typeorm';
import type { JsonObject } from '../../runtime/guards.ts';
import type { UnknownDevicePolicy } from '../../wamp/modules.ts';
import type { TenantRole } from '../roles.ts';
import { ascii, big, flag, hash, json, nullable, text, time, uuid, whole } from './columns.ts';
import { goesWith, ofTenant } from './foreign-keys.ts';

export interface Tenant {
  id: string;
  name: string;
  slug: string;
  /** Shorter than the installation's retention; null = the installation's. */
  readingRetentionDays: number | null;
  /** Limits of this tenant; what is left out has the installation's. */
  quotas: JsonObject | null;
  /** What becomes of devices that nobody has heard of. */
  unknownDevices: UnknownDevicePolicy;
  /** Devices that a gateway may create in a minute; more wait in quarantine. */
  devicesPerMinute: number;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const TenantEntity = new EntitySchema<Tenant>({
  name: 'Tenant',
  tableName: 'tenants',
  columns: {
    id: uuid('id', { primary: true }),
    name: text('name', 100),
    slug: ascii('slug', 63),
    readingRetentionDays: whole('reading_retention_days', nullable),
    quotas: json('quotas', nullable),
    unknownDevices: ascii('unknown_devices', 20, { default: 'quarantine' }),
    devicesPerMinute: whole('devices_per_minute', { default: 60 }),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [
    { name: 'uq_tenants_name', columns: ['name'], unique: true },
    { name: 'uq_tenants_slug', columns: ['slug'], unique: true },
  ],
});

export interface User {
  id: string;
  username: string;
  displayName: string | null;
  passwordHash: string;
  /** The installation's own role `admin`. */
  isAdmin: boolean;
  disabled: boolean;
  version: number;
  createdAt: Date;
  updatedAt: Date;
}

export const UserEntity = new EntitySchema<User>({
  name: 'User',
  tableName: 'users',
  columns: {
    id: uuid('id', { primary: true }),
    username: text('username', 100),
    displayName: text('display_name', 200, nullable),
    passwordHash: ascii('password_hash', 255),
    isAdmin: flag('is_admin', { default: 0 }),
    disabled: flag('disabled', { default: 0 }),
    version: whole('version', { default: 1 }),
    createdAt: time('created_at'),
    updatedAt: time('updated_at'),
  },
  indices: [{ name: 'uq_users_username', columns: ['username'], unique: true }],
});

export interface UserSession {
  tokenHash: string;
  userId: string;
  createdAt: Date;
  expiresAt: Date;
  remoteAddress: string | null;
}

export const UserSessionEntity = new EntitySchema<UserSession>({
  name: 'UserSession',
  tableName: 'user_sessions',
  columns: {
    tokenHash: hash('token_hash', { primary: true }),
    userId: uuid('user_id'),
    createdAt: time('created_at'),
    expiresAt: time('expires_at'),
    remoteAddress: ascii('remote_address', 45, nullable),
  },
  indices: [
    { name: 'ix_user_sessions_user', columns: ['userId'] },
    { name: 'ix_user_sessions_expires', columns: ['expiresAt'] },
  ],
  foreignKeys: goesWith('fk_user_sessions_user', 'User', 'userId', 'id'),
});

export interface Membership {
  tenantId: string;
  userId: string;
  role: TenantRole;
  createdAt: Date;
}

export const MembershipEntity = new EntitySchema<Membership>({
  name: 'Membership',
  tableName: 'memberships',
  columns: {
    tenantId: uuid('tenant_id', { primary: true }),
    userId: uuid('user_id', { primary: true }),
    role: ascii('role', 30),
    createdAt: time('created_at'),
  },
  indices: [{ name: 'ix_memberships_user', columns: ['userId'] }],
  foreignKeys: [
    {
      name: 'fk_memberships_tenant',
      target: 'Tenant',
      columnNames: ['tenantId'],
      referencedColumnNames: ['id'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
    {
      name: 'fk_memberships_user',
      target: 'User',
      columnNames: ['userId'],
      referencedColumnNames: ['id'],
      onDelete: 'CASCADE',
      onUpdate: 'NO ACTION',
    },
  ],
});

export interface ApiKey {
  id: string;
  tenantId: string;
  name: string;
  /** SHA-256 of the whole key as the client sends it, hex. */
  secretHash: string;
  role: TenantRole;
  /** uuids; null = every board of the tenant. */
  boards: string[] | null;
  /** Procedure names, `*` at the end as wildcard; null = every procedure. */
  procedures: string[] | null;
  createdBy: string;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
}

export const ApiKeyEntity = new EntitySchema<ApiKey>({
  name: 'ApiKey',
  tableName: 'api_keys',
  columns: {
    id: uuid('id', { primary: true }),
    tenantId: uuid('tenant_id'),
    name: text('name', 100),
    secretHash: hash('secret_hash'),
    role: ascii('role', 30),
    boards: json('boards', nullable),
    procedures: json('procedures', nullable),
    createdBy: ascii('created_by', 60),
    createdAt: time('created_at'),
    expiresAt: time('expires_at', nullable),
    revokedAt: time('revoked_at', nullable),
  },
  indices: [
    { name: 'uq_api_keys_secret', columns: ['secretHash'], unique: true },
    { name: 'uq_api_keys_name', columns: ['tenantId', 'name'], unique: true },
    { name: 'ix_api_keys_expires', columns: ['expiresAt'] },
  ],
  foreignKeys: ofTenant('fk_api_keys_tenant'),
});

export interface TenantUsage {
  tenantId: string;
  /** Days since 1970, UTC. */
  day: number;
  operations: number;
  readings: number;
}

export const TenantUsageEntity = new EntitySchema<TenantUsage>({
  name: 'TenantUsage',
  tableName: 'tenant_usage',
  columns: {
    tenantId: uuid('tenant_id', { primary: true }),
    day: whole('day', { primary: true }),
    operations: big('operations', { default: 0 }),
    readings: big('readings', { default: 0 }),
  },
});
