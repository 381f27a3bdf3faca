/** The only place where a procedure, topic or error URI is spelled. */

export const realmDefault = 's4t';

/** Procedures that the wamp-agent registers (shared, round-robin over the agents of a cell). */
export const agentUris = {
  authenticate: 'boardwalk.auth.authenticate',
  authorize: 'boardwalk.auth.authorize',
  enrol: 'boardwalk.agent.enrol',
  hello: 'boardwalk.agent.hello',
  heartbeat: 'boardwalk.agent.heartbeat',
  appendReadings: 'boardwalk.agent.append_readings',
  operationResult: 'boardwalk.agent.operation_result',
  operationProgress: 'boardwalk.agent.operation_progress',
  putArtifact: 'boardwalk.agent.put_artifact',
  reportModules: 'boardwalk.agent.report_modules',
} as const;

const boardRoot = 'boardwalk.board.';
const tenantRoot = 'boardwalk.tenant.';

/** Prefix that a board registers, with its trailing dot. */
export function boardPrefix(boardUuid: string): string {
  return `${boardRoot}${boardUuid}.`;
}

/** URI of one procedure of a board. */
export function boardProcedureUri(boardUuid: string, procedure: string): string {
  return boardPrefix(boardUuid) + procedure;
}

/** Splits `boardwalk.board.<uuid>.<procedure>`; undefined for any other URI. */
export function parseBoardUri(uri: string): { boardUuid: string; procedure: string } | undefined {
  const match = /^boardwalk\.board\.([0-9a-f-]{36})\.(.*)$/.exec(uri);
  return match ? { boardUuid: match[1] ?? '', procedure: match[2] ?? '' } : undefined;
}

/** Names that only the relay calls: settings pushed to a board, and durable operations. */
export const reservedProcedurePrefix = 'operation.';

export const reservedProcedures = {
  /** kwargs: Partial<BoardSettings>; the board applies them at once. */
  settings: 'operation.settings',
  /** kwargs: RunRequest, answer: RunAnswer. */
  run: 'operation.run',
  /** kwargs: `{operationIds}`, answer: StatusAnswer. What runs is told to stop; the answer may still say `running`. */
  cancel: 'operation.cancel',
  /** kwargs: `{operationIds}`, answer: StatusAnswer. */
  status: 'operation.status',
  /** kwargs: `{schedules: BoardSchedule[]}`, all that the board shall run by itself; answer `{stored}`. */
  schedules: 'operation.schedules',
  /** kwargs: none; the board reports its modules now and answers `{reported}`, how many it told of. */
  modules: 'operation.modules',
} as const;

export function isReservedProcedure(procedure: string): boolean {
  return procedure === 'operation' || procedure.startsWith(reservedProcedurePrefix);
}

export const boardEvents = ['presence', 'readings'] as const;
export type BoardEvent = (typeof boardEvents)[number];

/** Topic of a board's events: `boardwalk.tenant.<tenant id>.board.<uuid>.<event>`. */
export function boardEventTopic(tenantId: string, boardUuid: string, event: BoardEvent): string {
  return `${tenantRoot}${tenantId}.board.${boardUuid}.${event}`;
}

/** Tenant id of a topic below `boardwalk.tenant.`, and the board when the topic names one. */
export function parseTenantTopic(topic: string): { tenantId: string; boardUuid?: string } | undefined {
  const match = /^boardwalk\.tenant\.([0-9a-f-]{36})\.(?:board\.(?:([0-9a-f-]{36})\.)?)?/.exec(topic);
  if (!match?.[1]) return undefined;
  return match[2] ? { tenantId: match[1], boardUuid: match[2] } : { tenantId: match[1] };
}

/** WAMP meta API, called by role `agent` only. */
export const metaUris = {
  onJoin: 'wamp.session.on_join',
  onLeave: 'wamp.session.on_leave',
  sessionList: 'wamp.session.list',
  sessionCount: 'wamp.session.count',
  sessionGet: 'wamp.session.get',
  sessionKill: 'wamp.session.kill',
  killByAuthid: 'wamp.session.kill_by_authid',
  subscriptionList: 'wamp.subscription.list',
  subscriptionGet: 'wamp.subscription.get',
  onSubscriptionCreate: 'wamp.subscription.on_create',
  onSubscriptionDelete: 'wamp.subscription.on_delete',
} as const;

/** Roles at the router (DESIGN of the realm: who may do what is in wamp-agent/authorizer.ts). */
export const wampRoles = ['agent', 'board', 'service', 'enrolee'] as const;
export type WampRole = (typeof wampRoles)[number];

/** authid with which a board joins to enrol: the code in the ticket is what identifies it. */
export const enroleeAuthid = 'enrolee';
