/** The bodies of the relay's requests, parsed. */
import type { RelayCall, RelayInterest } from '../../common/relay/messages.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import {
  asArray,
  asBoolean,
  asInteger,
  asObject,
  asOneOf,
  asString,
  isUuid,
  optional,
} from '../../common/runtime/guards.ts';

const maxTimeoutMs = 3_600_000;
const maxBoards = 10_000;

function asUuid(value: unknown, field: string): string {
  if (!isUuid(value))
    throw new AppError('invalid-arguments', `${field} must be a uuid`, { details: { field } });
  return value;
}

export function parseRelayCall(value: unknown): RelayCall {
  const input = asObject(value, 'body');
  const caller = asObject(input.caller, 'caller');
  const args = optional(input.args, (v) => asArray(v, 'args', { max: 1000 }));
  const kwargs = optional(input.kwargs, (v) => asObject(v, 'kwargs'));
  const progress = optional(input.progress, (v) => asBoolean(v, 'progress'));
  return {
    boardUuid: asUuid(input.boardUuid, 'boardUuid'),
    sessionId: asUuid(input.sessionId, 'sessionId'),
    procedure: asString(input.procedure, 'procedure', { max: 200 }),
    ...(args && { args }),
    ...(kwargs && { kwargs }),
    timeoutMs: asInteger(input.timeoutMs, 'timeoutMs', { min: 1, max: maxTimeoutMs }),
    contractsHash: optional(input.contractsHash, (v) => asString(v, 'contractsHash', { max: 64 })) ?? null,
    requestId: asString(input.requestId, 'requestId', { max: 100 }),
    caller: {
      kind: asOneOf(caller.kind, 'caller.kind', ['user', 'key', 'process'] as const),
      id: asString(caller.id, 'caller.id', { max: 100 }),
    },
    ...(progress !== undefined && { progress }),
  };
}

export function parseInterest(value: unknown): RelayInterest {
  const input = asObject(value, 'body', ['boards', 'tenants']);
  const list = (each: unknown, field: string) =>
    optional(each, (v) => asArray(v, field, { max: maxBoards }).map((item) => asUuid(item, field))) ?? null;
  return { boards: list(input.boards, 'boards'), tenants: list(input.tenants, 'tenants') };
}

export function parseDisconnect(value: unknown): { boardUuid: string; reason: string } {
  const input = asObject(value, 'body', ['boardUuid', 'reason']);
  return {
    boardUuid: asUuid(input.boardUuid, 'boardUuid'),
    reason: asString(input.reason, 'reason', { max: 200 }),
  };
}
