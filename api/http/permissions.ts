/**
 * The one table of who may do what: operationId × role. What it does not grant is refused. It is
 * asked before a request's body is read (may any of the caller's roles do this?), again for the
 * tenant that the target belongs to (access.ts), and for `can` of `GET /v1/me`.
 */
import { operatingRoles, type TenantRole } from '../../common/db/roles.ts';
import type { Principal } from '../auth/principal.ts';
import type { OperationId } from './operation.ts';

export type Role = TenantRole | 'admin';

export interface Permission {
  /** `everyone`: also without signing in. `signed-in`: whoever has a valid session or key. */
  roles: readonly Role[] | 'everyone' | 'signed-in';
  /** Which API keys: `unscoped` = only keys that are not limited to some boards. */
  keys: 'any' | 'unscoped' | 'none';
}

const installation: readonly Role[] = ['admin'];
const owners: readonly Role[] = [...installation, 'admin_iot_project'];
/** The same roles are asked for again when a schedule or an alarm starts an operation. */
const managers: readonly Role[] = [...installation, ...operatingRoles];
const readers: readonly Role[] = [...managers, 'user_iot'];

export const permissions: Readonly<Record<OperationId, Permission>> = {
  login: { roles: 'everyone', keys: 'any' },
  logout: { roles: 'signed-in', keys: 'none' },
  getMe: { roles: 'signed-in', keys: 'any' },
  updateMe: { roles: 'signed-in', keys: 'none' },

  listUsers: { roles: installation, keys: 'none' },
  createUser: { roles: installation, keys: 'none' },
  getUser: { roles: installation, keys: 'none' },
  updateUser: { roles: installation, keys: 'none' },
  deleteUser: { roles: installation, keys: 'none' },

  listTenants: { roles: 'signed-in', keys: 'any' },
  createTenant: { roles: installation, keys: 'none' },
  getTenant: { roles: readers, keys: 'any' },
  updateTenant: { roles: owners, keys: 'unscoped' },
  deleteTenant: { roles: installation, keys: 'none' },
  listMembers: { roles: managers, keys: 'unscoped' },
  // A key must not make itself or others mightier than it is.
  setMember: { roles: owners, keys: 'none' },
  removeMember: { roles: owners, keys: 'none' },
  listApiKeys: { roles: owners, keys: 'none' },
  createApiKey: { roles: owners, keys: 'none' },
  getApiKey: { roles: owners, keys: 'none' },
  revokeApiKey: { roles: owners, keys: 'none' },
  getTenantFlow: { roles: readers, keys: 'unscoped' },
  getQuotas: { roles: managers, keys: 'unscoped' },
  setQuotas: { roles: installation, keys: 'none' },
  listWebhooks: { roles: owners, keys: 'unscoped' },
  createWebhook: { roles: owners, keys: 'unscoped' },
  getWebhook: { roles: owners, keys: 'unscoped' },
  updateWebhook: { roles: owners, keys: 'unscoped' },
  deleteWebhook: { roles: owners, keys: 'unscoped' },
  renewWebhookSecret: { roles: owners, keys: 'unscoped' },
  testWebhook: { roles: owners, keys: 'unscoped' },
  listWebhookDeliveries: { roles: owners, keys: 'unscoped' },
  redeliverWebhook: { roles: owners, keys: 'unscoped' },
  listTenantAuditEvents: { roles: owners, keys: 'unscoped' },
  listAuditEvents: { roles: installation, keys: 'none' },

  listFleets: { roles: readers, keys: 'unscoped' },
  createFleet: { roles: managers, keys: 'unscoped' },
  getFleet: { roles: readers, keys: 'unscoped' },
  updateFleet: { roles: managers, keys: 'unscoped' },
  deleteFleet: { roles: managers, keys: 'unscoped' },
  addFleetBoard: { roles: managers, keys: 'unscoped' },
  removeFleetBoard: { roles: managers, keys: 'unscoped' },

  listSchedules: { roles: readers, keys: 'unscoped' },
  createSchedule: { roles: managers, keys: 'unscoped' },
  getSchedule: { roles: readers, keys: 'unscoped' },
  updateSchedule: { roles: managers, keys: 'unscoped' },
  deleteSchedule: { roles: managers, keys: 'unscoped' },
  pauseSchedule: { roles: managers, keys: 'unscoped' },
  resumeSchedule: { roles: managers, keys: 'unscoped' },
  listScheduleRuns: { roles: readers, keys: 'unscoped' },

  listAlarmRules: { roles: readers, keys: 'unscoped' },
  createAlarmRule: { roles: managers, keys: 'unscoped' },
  getAlarmRule: { roles: readers, keys: 'unscoped' },
  updateAlarmRule: { roles: managers, keys: 'unscoped' },
  deleteAlarmRule: { roles: managers, keys: 'unscoped' },
  listSinks: { roles: managers, keys: 'unscoped' },
  createSink: { roles: owners, keys: 'unscoped' },
  getSink: { roles: managers, keys: 'unscoped' },
  updateSink: { roles: owners, keys: 'unscoped' },
  deleteSink: { roles: owners, keys: 'unscoped' },
  pauseSink: { roles: managers, keys: 'unscoped' },
  resumeSink: { roles: managers, keys: 'unscoped' },
  testSink: { roles: managers, keys: 'unscoped' },
  listSinkDeadLetters: { roles: managers, keys: 'unscoped' },
  replaySinkDeadLetters: { roles: managers, keys: 'unscoped' },
  dropSinkDeadLetters: { roles: owners, keys: 'unscoped' },
  listAlarms: { roles: readers, keys: 'any' },
  getAlarm: { roles: readers, keys: 'any' },
  acknowledgeAlarm: { roles: managers, keys: 'any' },

  listBoards: { roles: readers, keys: 'any' },
  createBoard: { roles: owners, keys: 'unscoped' },
  countBoards: { roles: readers, keys: 'any' },
  listBoardPositions: { roles: readers, keys: 'any' },
  getBoard: { roles: readers, keys: 'any' },
  updateBoard: { roles: managers, keys: 'any' },
  deleteBoard: { roles: owners, keys: 'any' },
  createEnrolmentCode: { roles: owners, keys: 'any' },
  revokeBoard: { roles: owners, keys: 'any' },
  reinstateBoard: { roles: owners, keys: 'any' },
  listBoardSessions: { roles: readers, keys: 'any' },
  listProcedures: { roles: readers, keys: 'any' },
  callProcedure: { roles: managers, keys: 'any' },
  listModules: { roles: readers, keys: 'any' },
  createModule: { roles: managers, keys: 'any' },
  clearQuarantine: { roles: managers, keys: 'any' },
  getModule: { roles: readers, keys: 'any' },
  updateModule: { roles: managers, keys: 'any' },
  deleteModule: { roles: managers, keys: 'any' },
  listTenantModules: { roles: readers, keys: 'unscoped' },
  listSources: { roles: readers, keys: 'any' },
  listStreams: { roles: readers, keys: 'any' },
  getReadings: { roles: readers, keys: 'any' },
  getBoardFlow: { roles: readers, keys: 'any' },
  getCompleteness: { roles: readers, keys: 'any' },
  listOperations: { roles: readers, keys: 'any' },
  getOperation: { roles: readers, keys: 'any' },
  listOperationTargets: { roles: readers, keys: 'any' },
  getOperationTimeline: { roles: readers, keys: 'any' },
  listArtifacts: { roles: readers, keys: 'any' },
  getArtifact: { roles: readers, keys: 'any' },
  downloadArtifact: { roles: readers, keys: 'any' },
  createOperation: { roles: managers, keys: 'any' },
  planOperation: { roles: managers, keys: 'any' },
  cancelOperation: { roles: managers, keys: 'any' },
  retryOperation: { roles: managers, keys: 'any' },
  resolveOperation: { roles: managers, keys: 'any' },
  pauseOperation: { roles: managers, keys: 'any' },
  resumeOperation: { roles: managers, keys: 'any' },
  approveOperation: { roles: managers, keys: 'any' },
  streamEvents: { roles: readers, keys: 'any' },

  getOpenapi: { roles: 'everyone', keys: 'any' },
  getHealth: { roles: 'everyone', keys: 'any' },
  getReadiness: { roles: 'everyone', keys: 'any' },
  getMetrics: { roles: 'everyone', keys: 'any' },
};

export const operationIds = Object.keys(permissions) as OperationId[];

/** May a holder of `role` do this; `undefined` = signed in, without a role. Keys see `allowsKey`. */
export function allowsRole(operationId: OperationId, role: Role | undefined): boolean {
  const { roles } = permissions[operationId];
  return typeof roles === 'string' || (role !== undefined && roles.includes(role));
}

function allowsKind(operationId: OperationId, principal: Principal): boolean {
  const { roles, keys } = permissions[operationId];
  if (principal.kind === 'anonymous') return roles === 'everyone';
  if (principal.kind === 'user' || roles === 'everyone') return true;
  return keys === 'any' || (keys === 'unscoped' && principal.scope.boards === null);
}

/** May the principal do this in a tenant. */
export function allowsInTenant(operationId: OperationId, principal: Principal, tenantId: string): boolean {
  return allowsKind(operationId, principal) && allowsRole(operationId, roleIn(principal, tenantId));
}

/** May the principal do this anywhere at all: with any of its roles. */
export function allowsAnywhere(operationId: OperationId, principal: Principal): boolean {
  if (!allowsKind(operationId, principal)) return false;
  const roles: (Role | undefined)[] = principal.memberships.map((each) => each.role);
  return [undefined, ...(principal.isAdmin ? (['admin'] as const) : []), ...roles].some((role) =>
    allowsRole(operationId, role),
  );
}

/** The principal's role in a tenant; undefined = the tenant does not exist for it. */
export function roleIn(principal: Principal, tenantId: string): Role | undefined {
  if (principal.isAdmin) return 'admin';
  return principal.memberships.find((each) => each.tenantId === tenantId)?.role;
}
