/**
 * Lines of JSON in a file of its own below the conductor's folder: `<folder>/<sink>/<name>.ndjson`.
 * What counts as delivered is on disk (fdatasync). Written at least once: each line has the point's id.
 * A new file begins each day (UTC) and beyond the size; the oldest go.
 */
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../common/runtime/app-error.ts';
import type { FileSettings } from '../../common/sinks/settings.ts';
import type { SinkTarget, TargetContext, WriteOutcome } from './sink-kind.ts';
import { toJson } from './webhook.ts';

const dayMs = 86_400_000;
const megabyte = 1_048_576;
const tailBytes = 65_536;

interface OpenFile {
  handle: FileHandle;
  /** What is whole; a failed write is cut off to it. */
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

  async function append(dir: string, text: string): Promise<void> {
    const path = join(dir, `${settings.name}.ndjson`);
    current ??= await openFile(dir, path);
    const bytes = Buffer.from(text, 'utf8');
    const isFull = current.size > 0 && current.size + bytes.length > settings.maxMegabytes * megabyte;
    if (isFull || current.day !== Math.floor(now() / dayMs)) {
      await current.handle.close();
      current = undefined;
      await rotate(dir, settings, now());
      current = await openFile(dir, path);
      current.day = Math.floor(now() / dayMs);
    }
    try {
      await current.handle.write(bytes, 0, bytes.length, current.size);
      await current.handle.datasync();
    } catch (error) {
      await current.handle.truncate(current.size).catch(() => undefined);
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
    async close() {
      await current?.handle.close();
      current = undefined;
    },
  };
}

async function openFile(dir: string, path: string): Promise<OpenFile> {
  await mkdir(dir, { recursive: true });
  const handle = await open(path, 'a+').then(async (made) => {
    await made.close();
    return open(path, 'r+');
  });
  const { size, mtimeMs } = await handle.stat();
  const whole = await endOfLastLine(handle, size);
  if (whole < size) await handle.truncate(whole);
  const folder = await open(dir, 'r');
  await folder.sync().finally(() => folder.close());
  return { handle, size: whole, day: Math.floor((size === 0 ? Date.now() : mtimeMs) / dayMs) };
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

async function rotate(dir: string, { name, files }: FileSettings, now: number): Promise<void> {
  const stamp = new Date(now).toISOString().replaceAll(/[-:]/g, '');
  await rename(join(dir, `${name}.ndjson`), join(dir, `${name}-${stamp}.ndjson`));
  const old = (await readdir(dir))
    .filter((each) => each.startsWith(`${name}-`) && /-\d{8}T\d{6}\.\d{3}Z\.ndjson$/.test(each))
    .sort()
    .reverse();
  for (const each of old.slice(files - 1)) await rm(join(dir, each), { force: true });
}
