/** Ends artifacts whose time is over, and tidies what uploads and crashes left. For a conductor's task. */
import type { Database } from '../db/database.ts';
import {
  deleteArtifacts,
  findExpiredArtifacts,
  findNeededFiles,
  findReceiving,
} from '../db/queries/artifacts.ts';
import { isUuid } from '../runtime/guards.ts';
import { type ArtifactStore, hashOfAside } from './store.ts';

/**
 * Removes expired artifacts, at most `limit`: files first, so that a crash leaves rows to come back to.
 * A file goes with the last row that needs it. Answers with the number of rows.
 */
export async function removeExpiredArtifacts(
  database: Database,
  store: ArtifactStore,
  limit = 200,
): Promise<number> {
  const expired = await database.read((manager) => findExpiredArtifacts(manager, limit));
  for (const sha256 of new Set(expired.map((each) => each.sha256)))
    await store.removeArtifact(sha256, () => isNeeded(database, sha256));
  for (const { id } of expired) await store.removePart(id);
  await database.read((manager) =>
    deleteArtifacts(
      manager,
      expired.map((each) => each.id),
    ),
  );
  return expired.length;
}

/** Removes parts whose upload is over or given up: none of its bytes came for `ageMs`. Answers with their number. */
export async function sweepParts(
  database: Database,
  store: ArtifactStore,
  ageMs = 7 * 86_400_000,
): Promise<number> {
  const names = await store.partsOlderThan(ageMs);
  const ids = names.filter(isUuid);
  const receiving = await database.read((manager) => findReceiving(manager, ids));
  let removed = 0;
  for (const name of names) {
    if (receiving.has(name)) continue;
    const sha256 = hashOfAside(name);
    if (sha256 !== undefined) await store.removeArtifact(sha256, () => isNeeded(database, sha256));
    else await store.removePart(name);
    removed += 1;
  }
  return removed;
}

async function isNeeded(database: Database, sha256: string): Promise<boolean> {
  return (await database.read((manager) => findNeededFiles(manager, [sha256]))).has(sha256);
}

/** Removes files that no row needs: of rows that were deleted by other ways. Answers with their number. */
export async function removeOrphans(
  database: Database,
  store: ArtifactStore,
  ageMs = 86_400_000,
): Promise<number> {
  let removed = 0;
  for (let folder = 0; folder < 256; folder += 1) {
    const names = await store.filesOlderThan(folder.toString(16).padStart(2, '0'), ageMs);
    const needed = await database.read((manager) => findNeededFiles(manager, names));
    for (const sha256 of names) {
      if (needed.has(sha256)) continue;
      if (await store.removeArtifact(sha256, () => isNeeded(database, sha256))) removed += 1;
    }
  }
  return removed;
}
