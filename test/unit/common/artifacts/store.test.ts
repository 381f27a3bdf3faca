import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ArtifactStore, createArtifactStore, hashOfAside } from '../../../../common/artifacts/store.ts';

let dir: string;
let store: ArtifactStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boardwalk-store-'));
  store = createArtifactStore(dir);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const factsOf = (bytes: Uint8Array) => ({
  sha256: createHash('sha256').update(bytes).digest('hex'),
  size: bytes.length,
});

async function put(bytes: Buffer): Promise<{ sha256: string; size: number }> {
  const id = randomUUID();
  await store.writePart(id, 0, bytes);
  expect(await store.finishPart(id, factsOf(bytes))).toBe(true);
  await store.removePart(id);
  return factsOf(bytes);
}

async function read(sha256: string, range?: { from: number; to: number }): Promise<string | undefined> {
  const file = await store.openArtifact(sha256, range);
  return file && (await buffer(file.stream)).toString('latin1');
}

describe('a file in the store', () => {
  it('is put together from chunks, and read whole or in part', async () => {
    const id = randomUUID();
    const bytes = randomBytes(300_000);
    for (let from = 0; from < bytes.length; from += 131_072)
      expect(await store.writePart(id, from, bytes.subarray(from, from + 131_072))).toBe(true);
    const facts = factsOf(bytes);
    expect(await store.has(facts)).toBe(false);
    expect(await store.finishPart(id, facts)).toBe(true);
    expect(await store.has(facts)).toBe(true);
    expect(await read(facts.sha256)).toBe(bytes.toString('latin1'));
    expect(await read(facts.sha256, { from: 10, to: 19 })).toBe(bytes.toString('latin1', 10, 20));
    const opened = await store.openArtifact(facts.sha256);
    expect(opened?.size).toBe(300_000);
    opened?.stream.destroy();
    await store.removePart(id);
    expect(await readdir(join(dir, 'parts'))).toEqual([]);
    expect((await stat(join(dir, facts.sha256.slice(0, 2), facts.sha256))).mode & 0o222).toBe(0);
  });

  it('may be empty', async () => {
    expect(await store.finishPart(randomUUID(), factsOf(Buffer.alloc(0)))).toBe(true);
    expect(await read(factsOf(Buffer.alloc(0)).sha256)).toBe('');
  });

  it('has the bytes that its name says, or is not there', async () => {
    const facts = factsOf(Buffer.from('right'));
    for (const bytes of ['wrong', 'righ', 'rigxt?']) {
      const id = randomUUID();
      await store.writePart(id, 0, Buffer.from(bytes));
      expect(await store.finishPart(id, facts)).toBe(false);
    }
    expect(await store.openArtifact(facts.sha256)).toBeUndefined();
    // What is left of an earlier, longer part does not count.
    const id = randomUUID();
    await store.writePart(id, 0, Buffer.from('right and more'));
    expect(await store.finishPart(id, facts)).toBe(true);
  });

  it('does not grow over bytes that were lost', async () => {
    const id = randomUUID();
    await store.writePart(id, 0, Buffer.from('abc'));
    expect(await store.writePart(id, 4, Buffer.from('e'))).toBe(false);
    expect(await store.writePart(id, 3, Buffer.from('d'))).toBe(true);
    expect(await store.writePart(id, 3, Buffer.from('d'))).toBe(true);
    expect(await store.finishPart(id, factsOf(Buffer.from('abcd')))).toBe(true);
  });

  it('is finished once by two who do so at the same time', async () => {
    const id = randomUUID();
    const bytes = randomBytes(200_000);
    await store.writePart(id, 0, bytes);
    const other = createArtifactStore(dir);
    expect(await Promise.all([store, other].map((each) => each.finishPart(id, factsOf(bytes))))).toEqual([
      true,
      true,
    ]);
  });

  it('goes when nobody needs it, and stays when somebody does', async () => {
    const { sha256 } = await put(Buffer.from('kept'));
    expect(await store.removeArtifact(sha256, async () => true)).toBe(false);
    expect(await read(sha256)).toBe('kept');
    expect(await store.removeArtifact(sha256, async () => false)).toBe(true);
    expect(await read(sha256)).toBeUndefined();
    expect(await store.removeArtifact(sha256, async () => false)).toBe(false);
  });

  it('is judged again when a crash left it aside', async () => {
    const { sha256 } = await put(Buffer.from('needed'));
    const crash = store.removeArtifact(sha256, () => Promise.reject(new Error('killed')));
    await expect(crash).rejects.toThrow('killed');
    expect(await read(sha256)).toBeUndefined();
    const [aside = ''] = await store.partsOlderThan(-1000);
    expect(hashOfAside(aside)).toBe(sha256);
    await store.removeArtifact(sha256, async () => true);
    expect(await read(sha256)).toBe('needed');
  });

  it('can be read to its end while it is removed', async () => {
    const { sha256 } = await put(randomBytes(500_000));
    const file = await store.openArtifact(sha256);
    await store.removeArtifact(sha256, async () => false);
    expect(file && (await buffer(file.stream)).length).toBe(500_000);
  });
});

describe('what is old', () => {
  it('is found among parts and files', async () => {
    expect(await store.partsOlderThan(0)).toEqual([]);
    const [old, young] = [randomUUID(), randomUUID()];
    for (const id of [old, young]) await store.writePart(id, 0, Buffer.from('x'));
    const { sha256 } = await put(Buffer.from('file'));
    const before = new Date(Date.now() - 60_000);
    await utimes(join(dir, 'parts', old), before, before);
    await utimes(join(dir, sha256.slice(0, 2), sha256), before, before);
    expect(await store.partsOlderThan(30_000)).toEqual([old]);
    expect(await store.filesOlderThan(sha256.slice(0, 2), 30_000)).toEqual([sha256]);
    expect(await store.filesOlderThan(sha256.slice(0, 2), 90_000)).toEqual([]);
    await writeFile(join(dir, 'parts', 'other'), '');
    expect(await store.partsOlderThan(30_000)).toEqual([old]);
  });
});
