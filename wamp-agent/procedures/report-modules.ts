/**
 * `boardwalk.agent.report_modules`: what a board counted of its devices and sources, and who is let in.
 * All counts are totals, so a report may come twice or not at all. The usual one, of devices that are
 * known, costs three statements without a transaction.
 */
import type { EntityManager } from 'typeorm';
import type { Database } from '../../common/db/database.ts';
import { findModulePolicy, type ModulePolicy } from '../../common/db/queries/modules.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import {
  type ModuleReport,
  type ModulesAnswer,
  type ModulesRequest,
  moduleLimits,
} from '../../common/wamp/modules.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import { createAttemptLimit } from '../auth/attempt-limit.ts';
import type { GetCaller } from '../boards/get-caller.ts';
import type { Metrics } from '../metrics.ts';
import { findDecisions, trimSources, updateCounts, upsertSources } from '../modules/report-queries.ts';
import { type TakenIn, takeIn } from '../modules/take-in.ts';

export interface ReportModulesOptions {
  database: Database;
  getCaller: GetCaller;
  metrics: Pick<Metrics, 'moduleReports' | 'modulesFound'>;
}

/** A board reports every 5 s, after its hello in several calls, and when it is asked to. */
const reportLimit = { attempts: 120, windowMs: 60_000 } as const;

export function createReportModules(options: ReportModulesOptions) {
  const { database, metrics } = options;
  const reports = createAttemptLimit(reportLimit);

  async function report(boardUuid: string, request: ModulesRequest): Promise<ModulesAnswer> {
    const known = await database.read((manager) => writeKnown(manager, boardUuid, request));
    let withoutRoom: ModuleReport[] = [];
    let { policy } = known;
    if (known.count < request.modules.length) {
      const taken = await database.transaction(
        (manager) => takeIn(manager, boardUuid, request.modules, request.version),
        { repeatable: true },
      );
      count(taken);
      ({ withoutRoom } = taken);
      // Read again: what was found is a change of the decisions.
      policy = await database.read((manager) => getPolicy(manager, boardUuid));
    }
    return {
      unknownDevices: policy.unknownDevices,
      createPerMinute: policy.createPerMinute,
      version: policy.version,
      ...((request.version !== policy.version || withoutRoom.some(({ state }) => state !== 'rejected')) && {
        decisions: [
          // After the version: they may be newer than it, never older.
          ...(await database.read((manager) => findDecisions(manager, boardUuid))),
          ...withoutRoom.map(({ name }) => ({ name, state: 'rejected' as const })),
        ],
      }),
    };
  }

  function count({ found, rejected, withoutRoom }: TakenIn): void {
    for (const { decided } of found) metrics.modulesFound.inc({ state: decided });
    if (rejected > 0) metrics.modulesFound.inc({ state: 'rejected' }, rejected);
    if (withoutRoom.length > 0) metrics.modulesFound.inc({ state: 'without-room' }, withoutRoom.length);
  }

  function refuseFlood(boardUuid: string): void {
    const waitSeconds = reports.retryAfterSeconds(boardUuid);
    if (waitSeconds > 0)
      throw new AppError('too-many-requests', `at most ${reportLimit.attempts} reports in a minute`, {
        details: { retryAfterMs: waitSeconds * 1000 },
      });
    reports.count(boardUuid);
  }

  return async (request: ModulesRequest, caller: Caller): Promise<ModulesAnswer> => {
    try {
      const board = await options.getCaller(caller);
      refuseFlood(board.uuid);
      const answer = await report(board.uuid, request);
      metrics.moduleReports.inc({ outcome: 'ok' });
      return answer;
    } catch (error) {
      metrics.moduleReports.inc({ outcome: error instanceof AppError ? error.code : 'internal' });
      throw error;
    }
  };
}

async function writeKnown(
  manager: EntityManager,
  boardUuid: string,
  { modules, sources }: ModulesRequest,
): Promise<{ policy: ModulePolicy; count: number }> {
  const policy = await getPolicy(manager, boardUuid);
  if (policy.sourceCount > moduleLimits.sources) await trimSources(manager, boardUuid);
  await upsertSources(manager, boardUuid, sources);
  return { policy, count: await updateCounts(manager, boardUuid, modules) };
}

async function getPolicy(manager: EntityManager, boardUuid: string): Promise<ModulePolicy> {
  const policy = await findModulePolicy(manager, boardUuid);
  if (!policy) throw new AppError('board-not-found', 'this board does not exist');
  return policy;
}
