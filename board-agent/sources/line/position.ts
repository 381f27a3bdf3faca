/**
 * How far a file has been read, across restarts. Written after each group of lines and not flushed:
 * a kill loses nothing of it, and what a power cut loses is known to the intake for some minutes.
 */
import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { asInteger, asObject, asString } from '../../../common/runtime/guards.ts';

export interface Position {
  /** Of the file's inode: the name may come to stand for another file. */
  inode: number;
  offset: number;
  /** Another one each time that a file is read from its start: an emptied file has the same offsets again. */
  life: string;
}

export interface PositionFile {
  read(): Position | undefined;
  write(position: Position): void;
  close(): void;
}

/** Not emptied at first: on a full disk the room that it gave back may be gone, and what it said with it. */
const keepContent = constants.O_WRONLY | constants.O_CREAT;

export function openPosition(path: string): PositionFile {
  let file: number | undefined;
  return {
    read() {
      try {
        const input = asObject(JSON.parse(readFileSync(path, 'utf8')), 'position');
        const limit = { min: 0, max: Number.MAX_SAFE_INTEGER };
        return {
          inode: asInteger(input.inode, 'inode', limit),
          offset: asInteger(input.offset, 'offset', limit),
          life: asString(input.life, 'life', { max: 36 }),
        };
      } catch {
        // Not there, or half written at a power cut: the file is read from its start again.
        return undefined;
      }
    },
    write(position) {
      file ??= openSync(path, keepContent, 0o600);
      const length = writeSync(file, JSON.stringify(position), 0);
      ftruncateSync(file, length);
    },
    close() {
      if (file !== undefined) closeSync(file);
      file = undefined;
    },
  };
}
