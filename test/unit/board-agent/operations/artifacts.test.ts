import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../../common/runtime/app-error.ts';
import type { ArtifactChunk } from '../../../../common/wamp/artifacts.ts';
import { operationLimits } from '../../../../common/wamp/operation-limits.ts';
import { until } from '../../../harness/until.ts';
import { cleanUp, createTestBoard, type Run, type TestBoard } from './support.ts';

const id = randomUUID();
const text = { name: 'a.txt', mediaType: 'text/plain' };

afterEach(cleanUp);

async function begun(board: TestBoard, procedure = 'careful'): Promise<Run> {
  await board.send({ operationId: id, procedure });
  const run = board.runs.at(-1);
  if (!run) throw new Error('it does not run');
  return run;
}

const keep = (run: Run, ...given: Parameters<NonNullable<Run['context']['artifact']>>) =>
  run.context.artifact?.(...given) ?? Promise.reject(new Error('no artifacts'));

const state = (board: TestBoard) => board.status(id).reports[0]?.state;
const sha256 = (content: Buffer | string) => createHash('sha256').update(content).digest('hex');

/** A server that keeps files, and can lose the link after some bytes. */
function createFileServer() {
  const files = new Map<string, Buffer>();
  const server = {
    files,
    chunks: [] as ArtifactChunk[],
    failFrom: Number.POSITIVE_INFINITY,
    onChunk(chunk: ArtifactChunk) {
      const { artifact, offset, data } = chunk;
      server.chunks.push(chunk);
      const known = files.get(artifact.name) ?? Buffer.alloc(0);
      if (data !== undefined && known.length >= server.failFrom)
        throw new AppError('unavailable', 'link lost');
      const fits = data !== undefined && offset === known.length;
      const content = fits ? Buffer.concat([known, Buffer.from(data, 'base64')]) : known;
      files.set(artifact.name, content);
      return { received: content.length, complete: sha256(content) === artifact.sha256 };
    },
  };
  return server;
}

const settled = (board: TestBoard, what: string, probe: () => unknown) =>
  until(
    what,
    async () => {
      await board.clock.advance(500);
      return probe();
    },
    { everyMs: 1 },
  );

describe('keeping an artifact', () => {
  it('hashes it on the way to the disk, from a text, bytes or pieces', async () => {
    const board = createTestBoard();
    const run = await begun(board);
    expect(await keep(run, text, 'grün')).toEqual({ ...text, size: 5, sha256: sha256('grün') });
    const bytes = Buffer.alloc(300_000, 7);
    expect(await keep(run, { ...text, name: 'b' }, bytes)).toMatchObject({
      size: 300_000,
      sha256: sha256(bytes),
    });
    async function* pieces() {
      for (let count = 0; count < 3; count += 1) yield bytes;
    }
    expect(await keep(run, { ...text, name: 'c' }, pieces())).toMatchObject({ size: 900_000 });
    expect(readdirSync(join(board.stateDir, 'artifacts', id))).toEqual(['0', '1', '2']);
  });

  it('refuses a bad label, a name twice, and more than ten', async () => {
    const board = createTestBoard();
    const run = await begun(board);
    for (const label of [
      { ...text, name: '../x' },
      { ...text, name: '' },
      { ...text, mediaType: 'text' },
    ])
      await expect(keep(run, label, 'x')).rejects.toMatchObject({ code: 'invalid-arguments' });
    for (let count = 0; count < 10; count += 1) await keep(run, { ...text, name: `${count}` }, 'x');
    await expect(keep(run, { ...text, name: '3' }, 'x')).rejects.toMatchObject({ code: 'invalid-arguments' });
    await expect(keep(run, { ...text, name: 'z' }, 'x')).rejects.toMatchObject({ code: 'payload-too-large' });
  });

  it('refuses one that is too large without keeping what there is of it', async () => {
    const board = createTestBoard();
    const run = await begun(board);
    const piece = Buffer.alloc(1_048_576);
    let given = 0;
    async function* pieces() {
      for (; ; given += 1) yield piece;
    }
    await expect(keep(run, text, pieces())).rejects.toMatchObject({ code: 'payload-too-large' });
    expect(given).toBe(operationLimits.artifactBytes / piece.length);
    expect(readdirSync(join(board.stateDir, 'artifacts', id))).toEqual([]);
  });

  it('is over when the operation has ended', async () => {
    const board = createTestBoard();
    const run = await begun(board);
    run.resolve();
    await board.clock.advance(0);
    await expect(keep(run, text, 'x')).rejects.toMatchObject({ code: 'conflict' });
  });
});

describe('an operation with artifacts', () => {
  it('counts as running until they are with the server, then is told and forgotten on the disk', async () => {
    const board = createTestBoard();
    const files = createFileServer();
    board.server.onChunk = files.onChunk;
    const run = await begun(board);
    const content = Buffer.from(Array.from({ length: 400_000 }, (_, index) => index % 251));
    const answer = board.send({ operationId: id, inlineMs: 1000 });
    await keep(run, text, content);
    await keep(run, { ...text, name: 'empty' }, '');
    run.resolve({ done: true });
    expect((await answer).report).toMatchObject({ state: 'running' });
    expect(state(board)).toBe('running');
    board.goOnline();
    await settled(board, 'the report', () => board.server.reports.length > 0);
    expect(board.server.reports[0]).toMatchObject({
      state: 'succeeded',
      result: { done: true },
      artifacts: [
        { name: 'a.txt', size: 400_000, sha256: sha256(content) },
        { name: 'empty', size: 0 },
      ],
    });
    expect(files.files.get('a.txt')?.equals(content)).toBe(true);
    expect(state(board)).toBe('succeeded');
    expect(existsSync(join(board.stateDir, 'artifacts', id))).toBe(false);
    const largest = Math.max(...files.chunks.map((each) => Buffer.from(each.data ?? '', 'base64').length));
    expect(largest).toBe(operationLimits.chunkBytes);
  });

  it('sends the rest of a file after a lost link and a restart', async () => {
    const board = createTestBoard();
    const files = createFileServer();
    files.failFrom = 2 * operationLimits.chunkBytes;
    board.server.onChunk = files.onChunk;
    const run = await begun(board);
    const content = Buffer.alloc(5 * operationLimits.chunkBytes, 'boardwalk');
    await keep(run, text, content);
    run.resolve(1);
    board.goOnline();
    await settled(board, 'the link is lost', () => files.files.get('a.txt')?.length === files.failFrom);
    board.goOffline();
    const again = await board.kill();
    files.failFrom = Number.POSITIVE_INFINITY;
    files.chunks.length = 0;
    again.goOnline();
    await settled(again, 'the report', () => again.server.reports.length > 0);
    expect(files.files.get('a.txt')?.equals(content)).toBe(true);
    const sent = files.chunks.filter((each) => each.data !== undefined).map((each) => each.offset);
    expect(sent).toEqual([2, 3, 4].map((each) => each * operationLimits.chunkBytes));
  });

  it('is told without those that the server refuses, with the reason', async () => {
    const board = createTestBoard();
    board.server.onChunk = () => {
      throw new AppError('quota-exceeded', 'the tenant has no room');
    };
    const run = await begun(board);
    await keep(run, text, 'x');
    run.resolve(1);
    board.goOnline();
    await settled(board, 'the report', () => board.server.reports.length > 0);
    expect(board.server.reports[0]).toMatchObject({
      state: 'succeeded',
      result: 1,
      artifacts: [],
      progress: { message: "file 'a.txt' is not with the server: the tenant has no room" },
    });
  });

  it('looks again whether the server has them when the outcome is not acknowledged', async () => {
    const board = createTestBoard();
    const files = createFileServer();
    board.server.onChunk = (chunk) => {
      if (chunk.artifact.name === 'refused') throw new AppError('quota-exceeded', 'no');
      return files.onChunk(chunk);
    };
    board.server.onReports = ({ reports }) => ({
      acknowledged: files.files.has('a.txt') ? reports.map((each) => each.operationId) : [],
    });
    const run = await begun(board);
    await keep(run, { ...text, name: 'refused' }, 'x');
    await keep(run, text, 'content');
    run.resolve();
    board.goOnline();
    files.onChunk = () => ({ received: 7, complete: true });
    await settled(board, 'a first report', () => board.server.reports.length > 0);
    const server = createFileServer();
    files.onChunk = (chunk) => {
      const answer = server.onChunk(chunk);
      if (answer.complete) files.files.set('a.txt', server.files.get('a.txt') ?? Buffer.alloc(0));
      return answer;
    };
    await settled(board, 'it is acknowledged', () => board.operations.stats().unacknowledged === 0);
    expect(String(files.files.get('a.txt'))).toBe('content');
  });

  it('holds no other outcome up', async () => {
    const board = createTestBoard();
    const gate = Promise.withResolvers<never>();
    board.server.onChunk = () => gate.promise;
    const run = await begun(board);
    await keep(run, text, 'x');
    run.resolve();
    board.goOnline();
    const other = randomUUID();
    await board.send({ operationId: other });
    board.runs.at(-1)?.resolve();
    await settled(board, 'the report', () => board.server.reports.length > 0);
    expect(board.server.reports.map((each) => each.operationId)).toEqual([other]);
    gate.reject(new AppError('unavailable', 'offline'));
  });

  it('that failed keeps what it has written until then', async () => {
    const board = createTestBoard();
    const files = createFileServer();
    board.server.onChunk = files.onChunk;
    const run = await begun(board);
    await keep(run, text, 'half');
    run.reject(new Error('broken'));
    board.goOnline();
    await settled(board, 'the report', () => board.server.reports.length > 0);
    expect(board.server.reports[0]).toMatchObject({ state: 'failed', artifacts: [{ name: 'a.txt' }] });
  });
});

describe('a result that is too large for a message', () => {
  it('becomes a file', async () => {
    const board = createTestBoard();
    const files = createFileServer();
    board.server.onChunk = files.onChunk;
    const run = await begun(board);
    const result = { text: 'x'.repeat(operationLimits.resultBytes) };
    run.resolve(result);
    board.goOnline();
    await settled(board, 'the report', () => board.server.reports.length > 0);
    expect(board.server.reports[0]).toMatchObject({
      state: 'succeeded',
      artifacts: [{ name: 'result.json', mediaType: 'application/json' }],
    });
    expect(board.server.reports[0]?.result).toBeUndefined();
    expect(JSON.parse(String(files.files.get('result.json')))).toEqual(result);
  });

  it('or that is no JSON at all has failed', async () => {
    const board = createTestBoard();
    const run = await begun(board);
    run.resolve(10n);
    await board.clock.advance(0);
    expect(board.status(id).reports[0]).toMatchObject({
      state: 'failed',
      error: { code: 'procedure-failed', message: expect.stringContaining('not JSON') },
    });
  });
});

describe('after a restart', () => {
  it('files of runs that did not end are gone', async () => {
    const board = createTestBoard();
    await keep(await begun(board, 'once'), text, 'x');
    const again = await board.kill();
    again.goOnline();
    await settled(again, 'the report', () => again.server.reports.length > 0);
    expect(again.server.reports[0]).toMatchObject({ state: 'interrupted' });
    expect(existsSync(join(again.stateDir, 'artifacts', id))).toBe(false);
  });
});
