/**
 * Reads a regular file line by line and goes on where it ended, also after a restart.
 *
 *   looking    the name is not there: looked for each second
 *   reading    to the end of what is there; a line without its end is left for later
 *   waiting    for more, four times a second. The file has shrunk: it was emptied, from its start again.
 *              The name stands for another file: the rest of the old one, then the new one
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { messageOf } from '../../../common/runtime/app-error.ts';
import type { Logger } from '../../../common/runtime/logger.ts';
import { type Clock, pause } from '../../clock.ts';
import type { IntakeDoor } from '../../intake/types.ts';
import { feedLines } from './feed.ts';
import type { PositionFile } from './position.ts';
import { createLineSplitter, type LineSplitter } from './split-lines.ts';

export interface FollowOptions {
  file: string;
  path: string;
  position: PositionFile;
  door: IntakeDoor;
  clock: Clock;
  logger: Logger;
}

const lookMs = 1000;
const waitMs = 250;
const chunkBytes = 65_536;

interface Reading {
  handle: FileHandle;
  inode: number;
  life: string;
  /** Where the next chunk begins. */
  at: number;
  lines: LineSplitter;
}

/** Ends when the signal aborts. */
export async function followFile(options: FollowOptions, signal: AbortSignal): Promise<void> {
  const { clock, door } = options;
  while (!signal.aborted) {
    try {
      const reading = await begin(options);
      door.setFault(undefined);
      try {
        await follow(options, reading, signal);
      } finally {
        await reading.handle.close();
      }
    } catch (error) {
      door.setFault(`${options.file}: ${messageOf(error)}`);
      await pause(clock, lookMs, signal);
    }
  }
}

async function begin({ file, position, logger }: FollowOptions): Promise<Reading> {
  // A device or a pipe would hold this thread for ever.
  if (!(await stat(file)).isFile())
    throw new Error('it is not a regular file; for devices and pipes use a command such as cat');
  const handle = await open(file, 'r');
  const { ino: inode, size } = await handle.stat();
  const known = position.read();
  const isSame = known?.inode === inode && known.offset <= size;
  if (known && !isSame)
    logger.warn({ file, known, inode, size }, 'the file is another one than before: read from its start');
  const begun = isSame ? known : { inode, offset: 0, life: randomUUID() };
  // Before its first line is taken: the life must be known after a kill.
  if (!isSame) position.write(begun);
  return { handle, inode, life: begun.life, at: begun.offset, lines: createLineSplitter(begun.offset) };
}

/** Resolves when the name stands for another file or the file was emptied, and at the end. */
async function follow(options: FollowOptions, reading: Reading, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await readOn(options, reading, signal);
    if (signal.aborted) return;
    if ((await reading.handle.stat()).size < reading.at) return;
    const now = await stat(options.file).catch(() => undefined);
    if (now?.ino !== reading.inode) {
      // What was written between the last look and the change of the name.
      await readOn(options, reading, signal);
      const rest = reading.lines.rest();
      if (rest) await feed(options, reading, [rest], signal);
      if (now === undefined) throw new Error('it is not there any more');
      return;
    }
    await pause(options.clock, waitMs, signal);
  }
}

async function readOn(options: FollowOptions, reading: Reading, signal: AbortSignal): Promise<void> {
  const buffer = Buffer.allocUnsafe(chunkBytes);
  while (!signal.aborted) {
    const { bytesRead } = await reading.handle.read(buffer, 0, chunkBytes, reading.at);
    if (bytesRead === 0) return;
    const lines = reading.lines.push(buffer.subarray(0, bytesRead));
    reading.at += bytesRead;
    await feed(options, reading, lines, signal);
  }
}

function feed(
  options: FollowOptions,
  { inode, life }: Reading,
  lines: Parameters<typeof feedLines>[1]['lines'],
  signal: AbortSignal,
): Promise<void> {
  return feedLines(options, {
    lines,
    signal,
    transmissionOf: ({ end }) => `${life}:${end}`,
    onDone: (offset) => options.position.write({ inode, offset, life }),
  });
}
