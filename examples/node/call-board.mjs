/**
 * Calls a board directly over WAMP, and prints its events as they come.
 *
 *     BOARDWALK_API_KEY_FILE=key BOARDWALK_TENANT=<tenant id> node call-board.mjs <board uuid> [seconds]
 *
 * A service is a WAMP client like any other: it joins with its API key as ticket, and the router asks
 * Boardwalk what the key may do. Needs autobahn (npm install autobahn).
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import autobahn from 'autobahn';

const [board, seconds = '10'] = process.argv.slice(2);
const tenant = process.env.BOARDWALK_TENANT;
const key = readSecret('BOARDWALK_API_KEY');
if (!board || !tenant || !key) {
  console.error('usage: BOARDWALK_API_KEY[_FILE]=… BOARDWALK_TENANT=… call-board.mjs <board uuid> [seconds]');
  process.exit(64);
}

const connection = new autobahn.Connection({
  url: process.env.BOARDWALK_WAMP_URL ?? 'ws://127.0.0.1:8181/',
  realm: process.env.BOARDWALK_REALM ?? 's4t',
  authmethods: ['ticket'],
  // A key carries its id: bw_<id>_<secret>. The id is the authid.
  authid: key.split('_')[1],
  onchallenge: () => key,
  // A service that runs for ever retries for ever; an example says what is wrong.
  max_retries: 0,
});

let joined = false;
connection.onopen = async (session) => {
  joined = true;
  for (const event of ['presence', 'readings']) {
    const topic = `boardwalk.tenant.${tenant}.board.${board}.${event}`;
    await session.subscribe(topic, (_args, payload) => show(event, payload));
  }
  try {
    show('ping', await withDeadline(session.call(`boardwalk.board.${board}.ping`), 10_000));
  } catch (error) {
    // error.error is the URI: the board's own, or for example wamp.error.no_such_procedure when the
    // board is away.
    show('error', { uri: error.error ?? error.message, args: error.args });
  }
  await sleep(Number(seconds) * 1000);
  connection.close();
};

connection.onclose = (reason, details) => {
  if (joined && reason === 'closed') return true;
  console.error(`not connected: ${details.message ?? details.reason ?? reason}`);
  process.exitCode = 1;
  return true;
};

connection.open();

/** The router doesn't end calls by itself: give each a deadline of its own. */
async function withDeadline(call, ms) {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`no answer within ${ms} ms`);
  });
  try {
    return await Promise.race([call, late]);
  } finally {
    timer.abort();
    late.catch(() => undefined);
  }
}

/**
 * From the environment, or from the file that NAME_FILE names: never an argument, because every user
 * of a machine can read the arguments of its processes.
 */
function readSecret(name) {
  const path = process.env[`${name}_FILE`];
  return process.env[name] ?? (path && readFileSync(path, 'utf8').trim());
}

function show(kind, value) {
  console.log(JSON.stringify({ [kind]: value }));
}
