/** `boardwalk-agent status`: what the running agent says about itself. */
import { type AgentStatus, findStatus, isAlive } from '../state/status-file.ts';

export interface StatusReport {
  running: boolean;
  status: AgentStatus | undefined;
}

/** Exit codes of LSB init scripts: 0 running, 3 not running; 1 runs but is not online. */
export function readStatus(stateDir: string): StatusReport & { exitCode: 0 | 1 | 3 } {
  const status = findStatus(stateDir);
  const running = status !== undefined && isAlive(status);
  if (!running) return { running, status, exitCode: 3 };
  return { running, status, exitCode: status.session.phase === 'online' ? 0 : 1 };
}

export function formatStatus({ running, status }: StatusReport, now: number): string {
  if (!status) return 'The agent has not run here yet.';
  const { session, spool, operations } = status;
  const ago = (at: number) => `${Math.max(0, Math.round((now - at) / 1000))} s ago`;
  const rows: [string, string][] = [
    ['board', `${status.boardName} (${status.boardUuid})`],
    [
      'agent',
      running ? `${status.agentVersion}, pid ${status.pid}, since ${status.startedAt}` : 'not running',
    ],
    ['session', `${running ? session.phase : 'none'} since ${new Date(session.since).toISOString()}`],
  ];
  if (session.url) rows.push(['router', session.url]);
  if (session.pulse) {
    const { at, roundTripMs, clockOffsetMs } = session.pulse;
    rows.push([
      'heartbeat',
      `${ago(at)}, round trip ${roundTripMs.toFixed(1)} ms, clock offset ${clockOffsetMs.toFixed(1)} ms`,
    ]);
  }
  rows.push(['readings', `${spool.waiting} waiting, ${(spool.bytes / 1e6).toFixed(1)} MB on disk`]);
  rows.push(['last ack', status.lastAckAt ? ago(Date.parse(status.lastAckAt)) : 'none']);
  const lost = Object.entries(spool.lost).filter(([, count]) => count > 0);
  if (lost.length > 0) rows.push(['lost', lost.map(([reason, count]) => `${count} ${reason}`).join(', ')]);
  if (spool.fault) rows.push(['spool fault', spool.fault]);
  if (spool.setAside) rows.push(['set aside', spool.setAside]);
  if (operations) {
    const { waiting, running, unacknowledged, schedules, fault, setAside } = operations;
    rows.push(['operations', `${running} running, ${waiting} waiting, ${unacknowledged} to report`]);
    if (schedules > 0) rows.push(['schedules', `${schedules} run by this board`]);
    if (fault) rows.push(['journal fault', fault]);
    if (setAside) rows.push(['set aside', setAside]);
  }
  rows.push(...intakeRows(status.intake));
  for (const error of status.errors.slice(-3))
    rows.push(['error', `${error.at} ${error.part}: ${error.message}`]);
  return rows.map(([name, value]) => `${name.padEnd(13)} ${value}`).join('\n');
}

function intakeRows(intake: AgentStatus['intake']): [string, string][] {
  if (!intake) return [];
  const { sources, modules, deadLetters } = intake;
  const rows = sources.map(({ name, kind, received, stored, duplicate, rejected, waiting, fault }) => {
    const flow = `${received} received = ${stored} stored + ${duplicate} duplicate + ${rejected} rejected + ${waiting} waiting`;
    return [name, `${kind}: ${flow}${fault === undefined ? '' : `; FAULT: ${fault}`}`] as [string, string];
  });
  const reasons = Object.entries(deadLetters.byReason).filter(([, count]) => count > 0);
  const detail = reasons.map(([reason, count]) => `${count} ${reason}`).join(', ');
  rows.push(['devices', `${modules} heard`]);
  rows.push(['dead letters', detail === '' ? 'none' : detail]);
  return rows;
}
