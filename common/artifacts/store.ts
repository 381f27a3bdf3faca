/**
 * The files that boards leave of their operations, in a directory that api, conductor and wamp-agents
 * share: `<dir>/<aa>/<sha256>` is immutable and has the bytes that its name says; `<dir>/parts/<id>` is
 * what has come of an upload. Rows say what belongs to whom; a part may be written by several
 * wamp-agents in turn. Nothing is ever held in memory as a whole.
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

export interface ArtifactFile {
  /** Bytes of the whole file. */
  size: number;
  stream: Readable;
}

export interface FileFacts {
  sha256: string;
  size: number;
}

export interface ArtifactStore {
  has(file: FileFacts): Promise<boolean>;
  /**
   * The file, or bytes `from` to `to` (both counted) of it; undefined when it is not there. The caller
   * reads the stream to its end or destroys it.
   */
  openArtifact(sha256: string, range?: { from: number; to: number }): Promise<ArtifactFile | undefined>;
  /**
   * Removes a file that no row needs. It is put aside first and `isNeeded` asked then, so that an
   * upload that finds its bytes here at this very moment either keeps them or sees them gone.
   */
  removeArtifact(sha256: string, isNeeded: () => Promise<boolean>): Promise<boolean>;
  /** On disk when it resolves. False when bytes before `offset` are missing: the upload begins anew. */
  writePart(id: string, offset: number, bytes: Uint8Array): Promise<boolean>;
  /** Puts a whole part in its place, if it has the bytes that it should. */
  finishPart(id: string, file: FileFacts): Promise<boolean>;
  removePart(id: string): Promise<void>;
  /** Names of parts, and of what a crash left beside them, that nobody has touched for so long. */
  partsOlderThan(ageMs: number): Promise<string[]>;
  /** Hashes of the files that begin with two hex digits and have been there for so long. */
  filesOlderThan(prefix: string, ageMs: number): Promise<string[]>;
}

const parts = 'parts';
const asideSuffix = '.aside';

export function createArtifactStore(dir: string): ArtifactStore {
  const folderOf = (sha256: string) => join(dir, sha256.slice(0, 2));
  const pathOf = (sha256: string) => join(folderOf(sha256), sha256);
  const partOf = (name: string) => join(dir, parts, name);

  async function has({ sha256, size }: FileFacts): Promise<boolean> {
    return (await sizeOf(pathOf(sha256))) === size;
  }

  /** Into its place by a name that only this call knows: what is hashed is what is there then. */
  async function place(part: FileHandle | undefined, { sha256, size }: FileFacts): Promise<boolean> {
    const copy = partOf(`${randomUUID()}.copy`);
    try {
      if ((await copyHashed(part, copy, size)) !== sha256) return false;
      await mkdir(folderOf(sha256), { recursive: true, mode: 0o750 });
      await rename(copy, pathOf(sha256));
      await syncFolder(folderOf(sha256));
      await syncFolder(dir);
      return true;
    } finally {
      await rm(copy, { force: true });
    }
  }

  return {
    has,
    async openArtifact(sha256, range) {
      const file = await openIfThere(pathOf(sha256));
      if (!file) return undefined;
      try {
        const { size } = await file.stat();
        const stream = file.createReadStream(range && { start: range.from, end: range.to });
        return { size, stream };
      } catch (error) {
        await file.close();
        throw error;
      }
    },
    async removeArtifact(sha256, isNeeded) {
      const aside = partOf(sha256 + asideSuffix);
      await mkdir(join(dir, parts), { recursive: true, mode: 0o750 });
      // What a crash left aside is judged again.
      if (!(await renameIfThere(pathOf(sha256), aside)) && (await sizeOf(aside)) === undefined) return false;
      if (await isNeeded()) {
        await mkdir(folderOf(sha256), { recursive: true, mode: 0o750 });
        await rename(aside, pathOf(sha256));
        return false;
      }
      await rm(aside, { force: true });
      return true;
    },
    async writePart(id, offset, bytes) {
      await mkdir(join(dir, parts), { recursive: true, mode: 0o750 });
      const file = await open(partOf(id), constants.O_RDWR | constants.O_CREAT, 0o640);
      try {
        const { size } = await file.stat();
        if (size < offset) return false;
        await writeAll(file, bytes, offset);
        await file.datasync();
        if (offset === 0) await syncFolder(join(dir, parts));
        return true;
      } finally {
        await file.close();
      }
    },
    async finishPart(id, facts) {
      await mkdir(join(dir, parts), { recursive: true, mode: 0o750 });
      const part = await openIfThere(partOf(id));
      try {
        // Bytes that were sent are looked at even so: whoever only knows the hash of another tenant's
        // file must not get it for others.
        if (!part && (await has(facts))) return true;
        return await place(part, facts);
      } finally {
        await part?.close();
      }
    },
    removePart: (id) => rm(partOf(id), { force: true }),
    partsOlderThan: (ageMs) => olderThan(join(dir, parts), ageMs),
    filesOlderThan: (prefix, ageMs) => olderThan(join(dir, prefix), ageMs),
  };
}

/** The hash of a name that removeArtifact put aside. */
export function hashOfAside(name: string): string | undefined {
  return name.endsWith(asideSuffix) ? name.slice(0, -asideSuffix.length) : undefined;
}

const pieceBytes = 65_536;

/** The first `size` bytes of a part into a new file on disk, and their hash. No part = no bytes. */
async function copyHashed(part: FileHandle | undefined, path: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(pieceBytes);
  const copy = await open(path, 'wx', 0o440);
  try {
    for (let at = 0; part && at < size; ) {
      const { bytesRead } = await part.read(buffer, 0, Math.min(buffer.length, size - at), at);
      if (bytesRead === 0) break;
      const piece = buffer.subarray(0, bytesRead);
      hash.update(piece);
      await writeAll(copy, piece, at);
      at += bytesRead;
    }
    await copy.sync();
    return hash.digest('hex');
  } finally {
    await copy.close();
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function unlessMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
  throw error;
}

const openIfThere = (path: string): Promise<FileHandle | undefined> => open(path, 'r').catch(unlessMissing);
const sizeOf = (path: string): Promise<number | undefined> =>
  stat(path).then((found) => found.size, unlessMissing);
const renameIfThere = (from: string, to: string): Promise<boolean> =>
  rename(from, to).then(
    () => true,
    (error) => unlessMissing(error) ?? false,
  );

async function olderThan(folder: string, ageMs: number): Promise<string[]> {
  const old: string[] = [];
  for (const name of await namesIn(folder)) {
    // One that is gone was finished meanwhile.
    const found = await stat(join(folder, name)).catch(unlessMissing);
    if (found && found.mtimeMs < Date.now() - ageMs) old.push(name);
  }
  return old;
}

const namesIn = (path: string): Promise<string[]> =>
  readdir(path).catch((error) => unlessMissing(error) ?? []);
