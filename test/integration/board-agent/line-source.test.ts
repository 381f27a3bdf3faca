/** The source `line`: real files and real commands, over a real intake and spool. */
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IntakeDoor, IntakeOutcome } from '../../../board-agent/intake/types.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import type { Source } from '../../../board-agent/sources/source.ts';
import { until } from '../../harness/until.ts';
import { type Bench, createBench, letIn } from '../../unit/board-agent/intake/support.ts';
import { type OpenSource, openSource } from './source-support.ts';

const rules = [{ match: 'line', decoder: 'json' }];
let dir: string;
let bench: Bench;
const opened: OpenSource[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-line-'));
  bench = createBench({ rules, maxPerSecond: 100_000 });
  await letIn(bench);
});

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  bench.close();
  rmSync(dir, { recursive: true });
});

async function start(
  settings: object,
  take: IntakeDoor['take'] = (message) => bench.door.take(message),
): Promise<Source> {
  const source = await openSource({ kind: 'line', rules, ...settings }, { dir, take });
  opened.push(source);
  return source.source;
}

/** Of the last one. */
const fault = () => opened.at(-1)?.fault();
const heard = () => opened.flatMap((each) => each.texts());
const line = (seq: number) => `{"device":"n1","data":{"count":${seq}}}\n`;
const stored = () => bench.spool.peek(1000)?.readings.map((each) => each[2]) ?? [];
const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, index) => from + index);
const storedAre = (expected: number[]) =>
  until(`${expected.length} are stored`, async () => stored().length >= expected.length).then(() =>
    expect(stored()).toEqual(expected),
  );

describe('a file', () => {
  it('is read from its start, and followed; a line counts when its end is there', async () => {
    const file = join(dir, 'data');
    writeFileSync(file, numbers(300).map(line).join(''));
    await start({ file });
    await storedAre(numbers(300));
    const half = line(301);
    appendFileSync(file, half.slice(0, 10));
    appendFileSync(file, half.slice(10));
    appendFileSync(file, line(302).replace('\n', '\r\n'));
    await storedAre(numbers(302));
  });

  it('goes on where it ended after a restart', async () => {
    const file = join(dir, 'data');
    writeFileSync(file, line(1));
    const first = await start({ file });
    await storedAre([1]);
    await first.stop();
    appendFileSync(file, line(2));
    await start({ file });
    await storedAre([1, 2]);
    expect(heard()).toHaveLength(2);
  });

  it('stores nothing twice when its position was lost in a kill', async () => {
    const file = join(dir, 'data');
    writeFileSync(file, '');
    const first = await start({ file });
    const position = join(dir, 'lines-line.json');
    await until('it has begun', async () => readFileSync(position, 'utf8') !== '');
    const before = readFileSync(position, 'utf8');
    appendFileSync(file, line(1) + line(2));
    await storedAre([1, 2]);
    await first.stop();
    // As if killed between the commit and the note of how far it was.
    writeFileSync(position, before);
    await start({ file });
    await until('they are heard again', async () => heard().length === 4);
    appendFileSync(file, line(3));
    await storedAre([1, 2, 3]);
  });

  it('is followed when it is rotated, and when it is emptied', async () => {
    const file = join(dir, 'data');
    writeFileSync(file, line(1));
    await start({ file });
    await storedAre([1]);
    appendFileSync(file, line(2));
    renameSync(file, `${file}.1`);
    appendFileSync(`${file}.1`, line(3).trimEnd());
    writeFileSync(file, line(4));
    await storedAre([1, 2, 3, 4]);
    const position = join(dir, 'lines-line.json');
    const { life } = JSON.parse(readFileSync(position, 'utf8'));
    truncateSync(file);
    await until('that is seen', async () => JSON.parse(readFileSync(position, 'utf8')).life !== life);
    // The same line at the same place: another reading all the same.
    appendFileSync(file, line(4));
    await storedAre([1, 2, 3, 4, 4]);
  });

  it('says so while it is not there, or is not a file', async () => {
    const file = join(dir, 'later');
    await start({ file });
    await until('there is a fault', async () => fault()?.includes('ENOENT') === true);
    writeFileSync(file, line(1));
    await storedAre([1]);
    expect(fault()).toBeUndefined();
    await start({ file: '/dev/null' });
    await until('there is a fault', async () => fault()?.includes('not a regular file') === true);
  });

  it('waits with the lines that the spool does not take, and keeps their order', async () => {
    const file = join(dir, 'data');
    writeFileSync(file, numbers(5).map(line).join(''));
    let refusals = 3;
    await start({ file }, async (message): Promise<IntakeOutcome> => {
      if (refusals > 0 && Buffer.from(message.payload).includes('3')) {
        refusals -= 1;
        return { status: 'unavailable', detail: 'full', retryAfterSeconds: 0.05 };
      }
      return bench.door.take(message);
    });
    await until('all are stored', async () => stored().length === 5);
    expect([...stored()].sort()).toEqual(numbers(5));
    expect(heard()).toHaveLength(8);
  });

  it('cuts a line without end, which is refused and counted', async () => {
    const file = join(dir, 'data');
    writeFileSync(file, `${'x'.repeat(400_000)}\n${line(1)}`);
    await start({ file });
    await storedAre([1]);
    expect(bench.intake.sources()).toMatchObject([{ received: 2, stored: 1, rejected: 1 }]);
  });
});

describe('a command', () => {
  const script = (text: string) => ['sh', '-c', text];

  it('is read line by line, and started again when it ends', async () => {
    const marker = join(dir, 'marker');
    await start({
      command: script(
        `n=$(cat ${marker} 2>/dev/null || echo 0); n=$((n+1)); echo $n > ${marker}
         printf '{"device":"n1","data":{"count":%d}}\\n' $n; echo oops >&2`,
      ),
    });
    await until('it has run twice', async () => stored().length >= 2, { timeoutMs: 20_000 });
    expect(stored().slice(0, 2)).toEqual([1, 2]);
  });

  it('takes its arguments as they are: no shell', async () => {
    await start({ command: ['printf', '%s\\n', '{"device":"n1","data":{"text":"$HOME; `id` | x"}}'] });
    await until('it is stored', async () => stored().length > 0);
    expect(stored()[0]).toBe('$HOME; `id` | x');
  });

  it('says so when the program is not there', async () => {
    await start({ command: ['no-such-program-here'] });
    await until('there is a fault', async () => fault()?.includes('ENOENT') === true);
  });

  it('ends with all its children, also when they do not want to', async () => {
    const pids = join(dir, 'pids');
    const source = await start({
      command: script(
        `trap '' TERM; sh -c 'trap "" TERM; echo $$ >> ${pids}; while :; do sleep 1; done' & echo $$ >> ${pids}; wait`,
      ),
    });
    const read = () => readFileSync(pids, 'utf8').trim().split('\n').map(Number);
    await until('both run', async () => {
      try {
        return read().length === 2;
      } catch {
        return false;
      }
    });
    await source.stop();
    await until('both are gone', async () =>
      read().every((pid) => {
        try {
          process.kill(pid, 0);
          return false;
        } catch {
          return true;
        }
      }),
    );
  });
});

it('needs either a command or a file', () => {
  const parse = (settings: object) => () =>
    parseSettings({ sources: [{ kind: 'line', rules, ...settings }] });
  expect(parse({})).toThrow('must have either command or file');
  expect(parse({ file: 'a', command: ['b'] })).toThrow('must have either command or file');
});
