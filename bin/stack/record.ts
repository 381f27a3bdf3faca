/**
 * `stack.json`: which stack runs in a home, for `npm run status` and for the next start. It is removed
 * at a clean stop; one that is found with its stack gone means that parts may be left.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { asArray, asObject, asString } from '../../common/runtime/guards.ts';
import { SetupError } from '../setup/progress.ts';
import { findMarked, processStartTime, signalAll, waitUntilGone } from './marked-processes.ts';
import { readJsonFile, writePrivateFile } from './private-files.ts';

export interface StackRecord {
  /** Value of the mark that every process of the stack carries. */
  id: string;
  pid: number;
  pidStartTime: string;
  startedAt: string;
  apiUrl: string;
  wampUrl: string;
  /** With the demo gateway. */
  demo: boolean;
  /** What `npm run status` asks, in the order that it shows. */
  servers: { name: string; url: string }[];
}

/** Environment variable that marks the processes of one stack. */
export const stackMark = 'BOARDWALK_STACK';

const recordPath = (home: string) => join(home, 'stack.json');

export async function writeRecord(home: string, record: StackRecord): Promise<void> {
  await writePrivateFile(recordPath(home), `${JSON.stringify(record, null, 2)}\n`);
}

export async function removeRecord(home: string): Promise<void> {
  await rm(recordPath(home), { force: true });
}

export async function readRecord(home: string): Promise<StackRecord | undefined> {
  const path = recordPath(home);
  const value = await readJsonFile(path);
  if (value === undefined) return undefined;
  const object = asObject(value, path);
  const text = (name: string) => asString(object[name], `${path}: ${name}`, { max: 500 });
  return {
    id: text('id'),
    pid: Number(object.pid),
    pidStartTime: text('pidStartTime'),
    startedAt: text('startedAt'),
    apiUrl: text('apiUrl'),
    wampUrl: text('wampUrl'),
    demo: object.demo === true,
    servers: asArray(object.servers, `${path}: servers`, { max: 1_000 }).map((each) => {
      const server = asObject(each, `${path}: servers`);
      return {
        name: asString(server.name, 'name', { max: 100 }),
        url: asString(server.url, 'url', { max: 500 }),
      };
    }),
  };
}

export function isRunning(record: StackRecord): boolean {
  return processStartTime(record.pid) === record.pidStartTime;
}

/** Ends what an earlier stack left in this home; throws when that stack still runs. */
export async function sweepHome(home: string): Promise<void> {
  const record = await readRecord(home);
  if (record === undefined) return;
  if (isRunning(record))
    throw new SetupError(
      `Boardwalk already runs in ${home} (process ${record.pid}, ${record.apiUrl}): stop it, or set ` +
        'BOARDWALK_HOME and the three ports for a second one.',
    );
  const find = () => findMarked(stackMark, record.id);
  signalAll(find(), 'SIGTERM');
  signalAll(await waitUntilGone(find, 10_000), 'SIGKILL');
  await waitUntilGone(find, 2_000);
  await removeRecord(home);
}
