/**
 * Files that procedures leave beside their results: written to the board's disk as they come, kept
 * until the server has them and knows the outcome. Never in memory as a whole.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../common/runtime/app-error.ts';
import { type ArtifactReport, parseArtifact } from '../../common/wamp/artifacts.ts';
import { operationLimits } from '../../common/wamp/operation-limits.ts';
import type { ArtifactLabel, KeepArtifact } from '../sources/source.ts';
import { syncFolder } from '../state/atomic-file.ts';

export interface ArtifactStore {
  /** For one run of an operation; its first file replaces what an earlier run has left. */
  keeper(operationId: string): { keep: KeepArtifact; reports(): ArtifactReport[] };
  /** One file of an operation, by its place among the artifacts. Throws what the file system throws. */
  open(operationId: string, index: number): Promise<FileHandle>;
  /** The files of an operation are not needed any more. */
  drop(operationId: string): void;
  /** Drops what belongs to no operation that needs it. */
  sweep(isNeeded: (operationId: string) => boolean): void;
}

type ArtifactContent = Parameters<KeepArtifact>[1];

/** Of all operations together: the disk is also there for others. */
const maxTotalBytes = 536_870_912;
const sliceBytes = 131_072;

export function createArtifactStore(dir: string): ArtifactStore {
  const folderOf = (operationId: string) => join(dir, operationId);
  /** Bytes by operation. */
  const sizes = new Map<string, number>();

  function add(operationId: string, bytes: number): void {
    sizes.set(operationId, (sizes.get(operationId) ?? 0) + bytes);
    const total = [...sizes.values()].reduce((sum, each) => sum + each, 0);
    if (total > maxTotalBytes)
      throw new AppError(
        'unavailable',
        `the files of operations would take more than ${maxTotalBytes} bytes`,
      );
  }

  function drop(operationId: string): void {
    if (!sizes.delete(operationId)) return;
    rmSync(folderOf(operationId), { recursive: true, force: true });
  }

  function keeper(operationId: string) {
    const reports: ArtifactReport[] = [];
    const names = new Set<string>();
    const folder = folderOf(operationId);
    let sealed = false;

    async function keep(label: ArtifactLabel, content: ArtifactContent): Promise<ArtifactReport> {
      const empty = parseArtifact({ ...label, size: 0, sha256: '0'.repeat(64) }, 'artifact');
      if (names.has(empty.name))
        throw new AppError('invalid-arguments', `there is an artifact '${empty.name}' already`);
      if (names.size >= operationLimits.artifactsPerOperation)
        throw new AppError('payload-too-large', `at most ${operationLimits.artifactsPerOperation} artifacts`);
      if (names.size === 0) begin();
      names.add(empty.name);
      const part = join(folder, `${names.size}.part`);
      try {
        const report = { ...empty, ...(await write(part, content)) };
        if (sealed) throw new AppError('conflict', 'the operation has ended');
        renameSync(part, join(folder, String(reports.push(report) - 1)));
        syncFolder(folder);
        return report;
      } catch (error) {
        rmSync(part, { force: true });
        if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
          throw new AppError('unavailable', 'the board’s disk has no room', { cause: error });
        throw error;
      }
    }

    function begin(): void {
      rmSync(folder, { recursive: true, force: true });
      sizes.set(operationId, 0);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    }

    async function write(path: string, content: ArtifactContent) {
      const file = await open(path, 'wx', 0o600);
      const hash = createHash('sha256');
      let size = 0;
      try {
        for await (const chunk of chunksOf(content)) {
          size += chunk.byteLength;
          if (size > operationLimits.artifactBytes)
            throw new AppError(
              'payload-too-large',
              `an artifact has at most ${operationLimits.artifactBytes} bytes`,
            );
          add(operationId, chunk.byteLength);
          hash.update(chunk);
          await file.writeFile(chunk);
        }
        await file.sync();
        return { size, sha256: hash.digest('hex') };
      } finally {
        await file.close();
      }
    }

    return {
      keep,
      reports() {
        sealed = true;
        return reports;
      },
    };
  }

  for (const name of foldersIn(dir)) sizes.set(name, sizeOf(join(dir, name)));

  return {
    keeper,
    open: (operationId, index) => open(join(folderOf(operationId), String(index)), 'r'),
    drop,
    sweep(isNeeded) {
      for (const operationId of [...sizes.keys()]) if (!isNeeded(operationId)) drop(operationId);
    },
  };
}

function foldersIn(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const entries = readdirSync(dir, { withFileTypes: true });
  return entries.filter((each) => each.isDirectory()).map((each) => each.name);
}

/** Bytes in a folder. */
function sizeOf(folder: string): number {
  const files = readdirSync(folder, { withFileTypes: true }).filter((each) => each.isFile());
  return files.reduce((sum, each) => sum + statSync(join(folder, each.name)).size, 0);
}

/** Content in pieces: no piece of ours is large, and what comes in pieces stays as it comes. */
async function* chunksOf(content: ArtifactContent): AsyncGenerator<Uint8Array> {
  if (typeof content !== 'string' && !Buffer.isBuffer(content)) {
    yield* content;
    return;
  }
  const bytes = Buffer.from(content);
  for (let from = 0; from < bytes.length; from += sliceBytes) yield bytes.subarray(from, from + sliceBytes);
}
