/**
 * `boardwalk-agent diagnose`: from the file on disk to the server's answer, each step with what to
 * do when it fails. Says no hello, so a running agent's session is left alone.
 */

import { lookup } from 'node:dns/promises';
import { statfsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { messageOf } from '../../common/runtime/app-error.ts';
import { parseHeartbeatAnswer } from '../../common/wamp/agent-procedures.ts';
import { agentUris } from '../../common/wamp/uris.ts';
import { systemClock } from '../clock.ts';
import { callAgent } from '../control/client.ts';
import type { LetterSummary } from '../intake/letter-box.ts';
import { signChallenge } from '../session/cryptosign.ts';
import { isRefusal, openLink } from '../session/link.ts';
import { findIdentity, findModeFaults, type Identity } from '../state/identity.ts';
import { readStatus } from './status.ts';
import { visible } from './visible.ts';

export interface Finding {
  name: string;
  ok: boolean;
  detail: string;
  /** What to do about it. */
  hint?: string;
}

const connectTimeoutMs = 5000;
const joinTimeoutMs = 20_000;
const largestOffsetMs = 5000;
const leastFreeBytes = 50_000_000;

/** Reports each finding as it comes; answers whether all are good. */
export async function diagnose(stateDir: string, report: (finding: Finding) => void): Promise<boolean> {
  let good = true;
  const say = (finding: Finding) => {
    good &&= finding.ok;
    report(finding);
  };
  const identity = checkIdentity(stateDir, say);
  if (identity) for (const url of identity.routerUrls) await checkRouter(url, identity, say);
  checkAgent(stateDir, say);
  checkSpool(stateDir, say);
  checkJournal(stateDir, say);
  await checkIntake(stateDir, say);
  checkDisk(stateDir, say);
  return good;
}

type Say = (finding: Finding) => void;

function checkIdentity(stateDir: string, say: Say): Identity | undefined {
  const name = 'identity';
  let identity: Identity | undefined;
  try {
    identity = findIdentity(stateDir);
  } catch (error) {
    say({ name, ok: false, detail: messageOf(error), hint: 'enrol again with a new code for this board' });
    return undefined;
  }
  if (!identity) {
    say({
      name,
      ok: false,
      detail: `none in ${stateDir}`,
      hint: "run 'boardwalk-agent enrol', or name --state",
    });
    return undefined;
  }
  say({
    name,
    ok: true,
    detail: `board ${identity.boardName} (${identity.boardUuid}), realm ${identity.realm}`,
  });
  const faults = findModeFaults(stateDir);
  say({
    name: 'identity file',
    ok: faults.length === 0,
    detail: faults.length === 0 ? 'only its owner may read it' : faults.join('; '),
    ...(faults.length > 0 && { hint: "chmod 600 identity.json, and run the agent as the file's owner" }),
  });
  return identity;
}

async function checkRouter(url: string, identity: Identity, say: Say): Promise<void> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  try {
    const addresses = await lookup(host, { all: true });
    say({ name: 'name', ok: true, detail: `${host} is ${addresses.map((each) => each.address).join(', ')}` });
  } catch (error) {
    say({ name: 'name', ok: false, detail: messageOf(error), hint: 'check the DNS settings of this host' });
    return;
  }
  const tcpPort = port === '' ? (protocol === 'wss:' ? 443 : 80) : Number(port);
  const tcp = await tryConnect(host, tcpPort);
  say({
    name: 'connection',
    ok: tcp === undefined,
    detail: `${host}:${tcpPort} ${tcp ?? 'answers'}`,
    ...(tcp !== undefined && { hint: 'is the router up, and does a firewall let this host out to it?' }),
  });
  if (tcp === undefined) await checkJoin(url, identity, say);
}

function tryConnect(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectTimeoutMs });
    const settle = (fault: string | undefined) => {
      socket.destroy();
      resolve(fault);
    };
    socket.on('connect', () => settle(undefined));
    socket.on('timeout', () => settle(`does not answer within ${connectTimeoutMs} ms`));
    socket.on('error', (error) => settle(messageOf(error)));
  });
}

const joinHints = {
  refused: 'the server does not accept this board: is it revoked, or was it enrolled elsewhere since?',
  timeout: 'the router is up but overloaded, or something between breaks WebSockets',
  unreachable: 'something at this address does not speak WebSocket: check the URL and any proxy',
  'not-yet': 'the router is up, the server behind it is not: ask its operator',
};

async function checkJoin(url: string, identity: Identity, say: Say): Promise<void> {
  const link = await openLink({
    url,
    realm: identity.realm,
    clock: systemClock,
    joinTimeoutMs,
    authentication: {
      method: 'cryptosign',
      authid: identity.boardUuid,
      publicKey: identity.publicKey,
      sign: (challenge) => signChallenge(identity.privateKey, challenge),
    },
  });
  if (isRefusal(link)) {
    say({ name: 'join', ok: false, detail: `${url}: ${link.message}`, hint: joinHints[link.kind] });
    return;
  }
  say({ name: 'join', ok: true, detail: `${url} let this board in` });
  try {
    const sentAt = Date.now();
    const startedMs = performance.now();
    const answer = parseHeartbeatAnswer(await link.call(agentUris.heartbeat, { sentAt }, 10_000));
    const roundTripMs = performance.now() - startedMs;
    const offsetMs = answer.serverTime - (sentAt + roundTripMs / 2);
    const ok = Math.abs(offsetMs) <= largestOffsetMs;
    say({
      name: 'clock',
      ok,
      detail: `round trip ${roundTripMs.toFixed(1)} ms, this clock is ${Math.abs(offsetMs / 1000).toFixed(3)} s ${offsetMs > 0 ? 'behind' : 'ahead'}`,
      ...(!ok && {
        hint: 'set up time synchronisation on this host: readings carry its times, beyond a minute the server’s',
      }),
    });
  } catch (error) {
    say({ name: 'server', ok: false, detail: messageOf(error), hint: joinHints['not-yet'] });
  } finally {
    await link.leave();
  }
}

function checkAgent(stateDir: string, say: Say): void {
  const { running, status, exitCode } = readStatus(stateDir);
  say({
    name: 'agent',
    ok: running,
    detail: running && status ? `pid ${status.pid}, ${status.session.phase}` : 'not running',
    ...(exitCode === 3 && { hint: 'start it: systemctl start boardwalk-agent' }),
    ...(exitCode === 1 && { hint: `not online: ${status?.session.lastFailure?.reason ?? 'see its log'}` }),
  });
}

function checkSpool(stateDir: string, say: Say): void {
  const { status } = readStatus(stateDir);
  const fault = status?.spool.fault;
  const size = statSync(join(stateDir, 'spool.db'), { throwIfNoEntry: false })?.size;
  say({
    name: 'spool',
    ok: fault === undefined,
    detail:
      fault ??
      (size === undefined ? 'empty' : `${status?.spool.waiting ?? 0} readings waiting, ${size} bytes`),
    ...(fault !== undefined && { hint: 'is the disk full, read-only or failing?' }),
  });
}

function checkJournal(stateDir: string, say: Say): void {
  const operations = readStatus(stateDir).status?.operations;
  if (!operations) return;
  const { waiting, running, unacknowledged, fault } = operations;
  say({
    name: 'journal',
    ok: fault === undefined,
    detail: fault ?? `${running} operations running, ${waiting} waiting, ${unacknowledged} to report`,
    ...(fault !== undefined && {
      hint: 'is the disk full, read-only or failing? New operations are refused',
    }),
  });
}

async function checkIntake(stateDir: string, say: Say): Promise<void> {
  const { running, status } = readStatus(stateDir);
  if (!status?.intake) return;
  for (const { name, kind, received, fault } of status.intake.sources)
    say({
      name: 'source',
      ok: fault === undefined,
      detail: `${name} (${kind}): ${fault ?? `${received} messages`}`,
      ...(fault !== undefined && { hint: 'until that is mended it does not hear all that is sent to it' }),
    });
  const { byReason } = status.intake.deadLetters;
  const reasons = Object.entries(byReason).filter(([, count]) => count > 0);
  // What waits for a decision or was not let in is as it should be.
  const needsMending = reasons.some(([reason]) => reason !== 'quarantined' && reason !== 'rejected');
  const samples = running && byReason.unmatched ? await findUnmatched(stateDir) : '';
  say({
    name: 'dead letters',
    ok: !needsMending,
    detail:
      reasons.length === 0
        ? 'none'
        : reasons.map(([reason, count]) => `${count} ${reason}`).join(', ') + samples,
    ...(needsMending && {
      hint: "'boardwalk-agent dead-letters list' shows them; after a rule was mended, 'dead-letters replay --all'",
    }),
  });
}

/** Topics that no rule fits, the most frequent first. */
async function findUnmatched(stateDir: string): Promise<string> {
  try {
    const answer = await callAgent(stateDir, 'gateway.dead_letters', { limit: 1 });
    if (!answer) return '';
    const { summary } = answer.result as { summary: LetterSummary };
    return `; no rule fits ${summary.unmatched.map(({ path, letters }) => `${visible(path)} (${letters})`).join(', ')}`;
  } catch (error) {
    return `; ${messageOf(error)}`;
  }
}

function checkDisk(stateDir: string, say: Say): void {
  const name = 'disk space';
  try {
    const { bavail, bsize } = statfsSync(stateDir);
    const ok = bavail * bsize >= leastFreeBytes;
    say({
      name,
      ok,
      detail: `${Math.floor((bavail * bsize) / 1e6)} MB free`,
      ...(!ok && { hint: 'make room: the spool needs it when the server cannot be reached' }),
    });
  } catch (error) {
    say({ name, ok: false, detail: messageOf(error), hint: 'the state folder cannot be read' });
  }
}
