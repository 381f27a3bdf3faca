import { describe, expect, it } from 'vitest';
import { anonymous, type Principal, unscoped } from '../../../../api/auth/principal.ts';
import {
  type EventFilter,
  passes,
  tenantsOf,
  type Visibility,
  visibilityOf,
} from '../../../../api/events/event-filter.ts';
import type { TenantRole } from '../../../../common/db/roles.ts';

const all: EventFilter = { types: null, boards: null, tenantId: null };
const everything: Visibility = { tenants: null, boards: null };

describe('what a listener gets', () => {
  const member = (...roles: [string, TenantRole][]): Principal => ({
    ...anonymous,
    kind: 'user',
    memberships: roles.map(([tenantId, role]) => ({
      tenantId,
      role,
      tenantName: tenantId,
      tenantSlug: tenantId,
    })),
  });

  it('is within the tenants of a user, for every role', () => {
    const visibility = visibilityOf(member(['t1', 'user_iot'], ['t2', 'admin_iot_project']));
    expect(passes(all, visibility, { tenantId: 't1', boardUuid: 'b' })).toBe(true);
    expect(passes(all, visibility, { tenantId: 't2', boardUuid: null })).toBe(true);
    expect(passes(all, visibility, { tenantId: 't3', boardUuid: 'b' })).toBe(false);
  });

  it('is everything for the admin of the installation, and nothing for strangers', () => {
    const subject = { tenantId: 't', boardUuid: 'b' };
    expect(passes(all, visibilityOf({ ...member(), isAdmin: true }), subject)).toBe(true);
    expect(passes(all, visibilityOf(anonymous), subject)).toBe(false);
  });

  it("is within a key's boards, and leaves out what is of no board", () => {
    const scope = { ...unscoped, boards: new Set(['b']) };
    const visibility = visibilityOf({ ...member(['t', 'user_iot']), kind: 'key', scope });
    expect(passes(all, visibility, { tenantId: 't', boardUuid: 'b' })).toBe(true);
    expect(passes(all, visibility, { tenantId: 't', boardUuid: 'c' })).toBe(false);
    expect(passes(all, visibility, { tenantId: 't', boardUuid: null })).toBe(false);
  });

  it('is narrowed by the asked boards and tenant, never widened', () => {
    const one = { ...all, boards: new Map([['b', 't']]) };
    expect(passes(one, everything, { tenantId: 't', boardUuid: 'b' })).toBe(true);
    expect(passes(one, everything, { tenantId: 't', boardUuid: 'c' })).toBe(false);
    expect(passes(one, { tenants: new Set(), boards: null }, { tenantId: 't', boardUuid: 'b' })).toBe(false);
    expect(passes({ ...all, tenantId: 't' }, everything, { tenantId: 'u', boardUuid: 'b' })).toBe(false);
  });

  it('comes from the tenants of what was asked for, as far as they are visible', () => {
    const two = { tenants: new Set(['t', 'u']), boards: null };
    expect(tenantsOf(all, two)).toEqual(['t', 'u']);
    expect(tenantsOf(all, everything)).toBeNull();
    expect(tenantsOf({ ...all, tenantId: 'u' }, two)).toEqual(['u']);
    expect(tenantsOf({ ...all, boards: new Map([['b', 't']]) }, two)).toEqual(['t']);
    expect(tenantsOf({ ...all, tenantId: 'v' }, two)).toEqual([]);
    expect(tenantsOf({ ...all, boards: new Map([['b', 'v']]) }, two)).toEqual([]);
  });
});
