/**
 * Lines of JSON in a file of its own below the conductor's folder: `<folder>/<sink>/<name>.ndjson`.
 * What counts as delivered is on disk (fdatasync). Written at least once: each line has the point's id.
 * It only ever appends, so that a conductor that lost the sink without knowing it writes over nothing.
 * A new file begins each day (UTC) and beyond the size; the oldest go.
 */
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { FileSettings } from '../../common/sinks/settings.ts';
import type { SinkTarget, TargetContext, WriteOutcome } from './sink-kind.ts';
import { toJson } from './webhook.ts';

const dayMs = 86_400_000;
const megabyte = 1_048_576;
const tailBytes = 65_536;

interface OpenFile {
  handle: FileHandle;
  /** Whether it is still the one of this name. */
  device: number;
  inode: number;
  size: number;
  day: number;
}

export function createFileTarget(
  settings: FileSettings,
  { sinkId, config }: TargetContext,
  now: () => number = Date.now,
): SinkTarget {
  const folder = config.dir === undefined ? undefined : join(config.dir, sinkId);
  let current: OpenFile | undefined;

  async function close(): Promise<void> {
    const old = current;
    current = undefined;
    await old?.handle.close();
  }

  async function append(dir: string, text: string): Promise<void> {
    const path = join(dir, `${settings.name}.ndjson`);
    const bytes = Buffer.from(text, 'utf8');
    // Somebody moved or deleted it: what is written to it now would be seen by nobody.
    if (current && !(await isThere(current, path))) await close();
    current ??= await openFile(dir, path, now());
    const isFull = current.size > 0 && current.size + bytes.length > settings.maxMegabytes * megabyte;
    if (isFull || current.day !== dayOf(now())) {
      await close();
      await rotate(dir, settings, now());
      current = await openFile(dir, path, now());
    }
    try {
      // All of it: a disk that becomes full takes a part, and says so only when asked for the rest.
      await current.handle.appendFile(bytes);
      await current.handle.datasync();
    } catch (error) {
      // How much is there is looked at when it is opened again.
      await close().catch(() => undefined);
      throw error;
    }
    current.size += bytes.length;
  }

  return {
    async write(points): Promise<WriteOutcome> {
      if (folder === undefined)
        return {
          outcome: 'retry',
          reason: 'this installation keeps no files: BOARDWALK_SINK_DIR is not set',
        };
      try {
        await append(folder, points.map((each) => `${JSON.stringify(toJson(each))}\n`).join(''));
        return { outcome: 'written', rejected: new Map() };
      } catch (error) {
        return { outcome: 'retry', reason: `the file cannot be written: ${messageOf(error)}` };
      }
    },
    close,
  };
}

const dayOf = (at: number) => Math.floor(at / dayMs);

async function isThere({ device, inode }: OpenFile, path: string): Promise<boolean> {
  // Gone counts as another one; what else is wrong is seen when it is opened.
  const found = await stat(path).catch(() => undefined);
  return found?.ino === inode && found.dev === device;
}

async function openFile(dir: string, path: string, now: number): Promise<OpenFile> {
  const made = await mkdir(dir, { recursive: true });
  const handle = await open(path, 'a+');
  try {
    const { size, mtimeMs, dev, ino } = await handle.stat();
    const whole = await endOfLastLine(handle, size);
    if (whole < size) await handle.truncate(whole);
    await syncFolder(dir);
    if (made !== undefined) await syncFolder(dirname(dir));
    return { handle, device: dev, inode: ino, size: whole, day: dayOf(whole === 0 ? now : mtimeMs) };
  } catch (error) {
    await handle.close().catch(() => undefined);
    throw error;
  }
}

/** So that what was made or renamed in it outlives a loss of power. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}

/** A line that was cut off by a crash was not counted as delivered: it comes again. */
async function endOfLastLine(handle: FileHandle, size: number): Promise<number> {
  for (let end = size; end > 0; ) {
    const from = Math.max(0, end - tailBytes);
    const { buffer } = await handle.read(Buffer.alloc(end - from), 0, end - from, from);
    const at = buffer.lastIndexOf(10);
    if (at >= 0) return from + at + 1;
    end = from;
  }
  return 0;
}

/** The stamps of its files rise, also when the clock is set back: the order of names is that of the files. */
async function rotate(dir: string, { name, files }: FileSettings, now: number): Promise<void> {
  const pattern = new RegExp(
    `^${name}-(\\d{4})(\\d\\d)(\\d\\d)T(\\d\\d)(\\d\\d)(\\d\\d\\.\\d{3}Z)\\.ndjson$`,
  );
  const old = (await readdir(dir)).filter((each) => pattern.test(each)).sort();
  const newest = Date.parse(old.at(-1)?.replace(pattern, '$1-$2-$3T$4:$5:$6') ?? '') || 0;
  const stamp = new Date(Math.max(now, newest + 1)).toISOString().replaceAll(/[-:]/g, '');
  await rename(join(dir, `${name}.ndjson`), join(dir, `${name}-${stamp}.ndjson`));
  const kept = files - 2;
  for (const each of old.slice(0, Math.max(0, old.length - kept))) await rm(join(dir, each), { force: true });
}
