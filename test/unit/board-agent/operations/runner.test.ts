import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../../common/runtime/app-error.ts';
import { cleanUp, contracts, createTestBoard, fillDisk, readStored } from './support.ts';

const id = randomUUID();

afterEach(cleanUp);

describe('running an operation', () => {
  it('answers with the outcome when it is there in time', async () => {
    const board = createTestBoard();
    const answer = board.send({ operationId: id, inlineMs: 1000, kwargs: { a: 1 } });
    expect(board.runs).toHaveLength(1);
    expect(board.runs[0]?.kwargs).toEqual({ a: 1 });
    expect(board.runs[0]?.context.operation).toEqual({ id, attempt: 1 });
    board.runs[0]?.resolve({ done: true });
    expect(await answer).toEqual({
      journalEpoch: board.operations.epoch(),
      report: {
        operationId: id,
        attempt: 1,
        state: 'succeeded',
        result: { done: true },
        runs: 1,
        startedAt: board.clock.now(),
        endedAt: board.clock.now(),
      },
    });
  });

  it('answers how far it is when the time is over, and answers a repeat with the outcome', async () => {
    const board = createTestBoard();
    const first = board.send({ operationId: id, inlineMs: 500 });
    await board.clock.advance(500);
    expect((await first).report).toMatchObject({ state: 'running', runs: 1 });
    const repeat = board.send({ operationId: id, inlineMs: 500 });
    board.runs[0]?.resolve(7);
    expect((await repeat).report).toMatchObject({ state: 'succeeded', result: 7, runs: 1 });
    expect((await board.send({ operationId: id })).report).toMatchObject({ state: 'succeeded', result: 7 });
    expect(board.runs).toHaveLength(1);
  });

  it('keeps the code of an AppError, and calls everything else a failed procedure', async () => {
    const board = createTestBoard();
    const first = board.send({ inlineMs: 100 });
    board.runs[0]?.reject(new AppError('unavailable', 'later', { details: { retryAfterMs: 5 } }));
    expect((await first).report).toMatchObject({
      state: 'failed',
      error: { code: 'unavailable', message: 'later', details: { retryAfterMs: 5 } },
    });
    const second = board.send({ inlineMs: 100 });
    board.runs[1]?.reject(new TypeError('x is \u001b[31mundefined'));
    expect((await second).report?.error).toEqual({
      code: 'procedure-failed',
      message: 'x is  [31mundefined',
    });
  });

  it('runs nothing that has no procedure, does not fit its contract, or comes too late', async () => {
    const board = createTestBoard();
    const now = board.clock.now();
    expect((await board.send({ procedure: 'nothing' })).report).toMatchObject({
      state: 'failed',
      runs: 0,
      error: { code: 'procedure-not-found' },
    });
    expect((await board.send({ procedure: 'strict', kwargs: { v: 'x' } })).report).toMatchObject({
      state: 'failed',
      error: { code: 'invalid-arguments', details: { errors: [{ pointer: '/v' }] } },
    });
    expect((await board.send({ deadlineAt: now })).report).toMatchObject({ state: 'expired', runs: 0 });
    expect(board.runs).toHaveLength(0);
  });

  it('judges the deadline by the server’s clock', async () => {
    const board = createTestBoard();
    const ahead = board.clock.now() + 86_400_000;
    expect(
      (await board.send({ sentAt: ahead, deadlineAt: ahead - 1, operationId: id })).report,
    ).toMatchObject({ state: 'expired' });
    expect((await board.send({ sentAt: ahead, deadlineAt: ahead + 1000 })).report?.state).toBe('running');
  });

  it('has it on disk before a procedure begins that must not run twice, and its outcome before it is told', async () => {
    const board = createTestBoard();
    for (const procedure of ['careful', 'once']) {
      const operationId = randomUUID();
      const answer = board.send({ operationId, procedure, inlineMs: 100 });
      expect(readStored(board)[operationId]).toBe('running');
      board.runs.at(-1)?.resolve();
      await answer;
      expect(readStored(board)[operationId]).toBe('succeeded');
    }
  });

  it('writes nothing for an idempotent one that ends in time, but some seconds later', async () => {
    const board = createTestBoard();
    const answer = board.send({ operationId: id, procedure: 'quick', inlineMs: 100 });
    board.runs[0]?.resolve(1);
    expect((await answer).report).toMatchObject({ state: 'succeeded', result: 1 });
    expect(readStored(board)).toEqual({});
    expect((await board.send({ operationId: id, procedure: 'quick' })).report).toMatchObject({ result: 1 });
    expect(board.runs).toHaveLength(1);
    await board.clock.advance(5000);
    expect(readStored(board)).toEqual({ [id]: 'succeeded' });
  });

  it('writes an idempotent one that goes on before it is called running', async () => {
    const board = createTestBoard();
    const answer = board.send({ operationId: id, procedure: 'quick', inlineMs: 100 });
    expect(readStored(board)).toEqual({});
    await board.clock.advance(100);
    expect((await answer).report?.state).toBe('running');
    expect(readStored(board)).toEqual({ [id]: 'running' });
  });

  it('runs four at a time, and the others in order', async () => {
    const board = createTestBoard();
    const ids = Array.from({ length: 7 }, () => randomUUID());
    for (const [index, operationId] of ids.entries())
      await board.send({ operationId, kwargs: { index }, procedure: index % 2 ? 'careful' : 'quick' });
    expect(board.runs).toHaveLength(4);
    expect(board.status(...ids).reports.map((each) => each.state)).toEqual([
      ...Array(4).fill('running'),
      ...Array(3).fill('accepted'),
    ]);
    expect(readStored(board)[ids[6] ?? '']).toBe('accepted');
    board.runs[2]?.resolve();
    board.runs[0]?.reject(new Error('no'));
    await board.clock.advance(0);
    expect(board.runs.map((each) => each.kwargs.index)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(board.operations.stats()).toMatchObject({ waiting: 1, running: 4 });
  });
});

describe('attempts', () => {
  it('refuses an older attempt, and runs a newer one when the known one has ended', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id, attempt: 2 });
    expect(await board.send({ operationId: id, attempt: 1 })).toEqual({
      journalEpoch: board.operations.epoch(),
      refusal: 'stale-attempt',
    });
    expect((await board.send({ operationId: id, attempt: 3 })).report).toMatchObject({
      attempt: 2,
      state: 'running',
    });
    expect(board.runs).toHaveLength(1);
    board.runs[0]?.reject(new Error('no'));
    await board.clock.advance(0);
    expect((await board.send({ operationId: id, attempt: 3 })).report).toMatchObject({
      attempt: 3,
      state: 'running',
    });
    expect(board.runs).toHaveLength(2);
  });

  it('refuses a repeat that was meant for another journal', async () => {
    const board = createTestBoard();
    expect(await board.send({ journalEpoch: randomUUID() })).toMatchObject({ refusal: 'journal-lost' });
    expect(board.runs).toHaveLength(0);
    const { journalEpoch } = await board.send({ journalEpoch: board.operations.epoch() });
    expect(journalEpoch).toBe(board.operations.epoch());
    expect(board.runs).toHaveLength(1);
  });
});

describe('the deadline', () => {
  it('ends what runs, and ignores what comes of it later', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id, deadlineAt: board.clock.now() + 10_000 });
    await board.clock.advance(9_999);
    expect(board.runs[0]?.context.signal.aborted).toBe(false);
    await board.clock.advance(1);
    expect(board.runs[0]?.context.signal.aborted).toBe(true);
    await board.clock.advance(1000);
    const expected = {
      state: 'failed',
      error: { code: 'deadline-exceeded', details: { stillRunning: true } },
    };
    expect(board.status(id).reports[0]).toMatchObject(expected);
    board.runs[0]?.resolve('late');
    await board.clock.advance(0);
    expect(board.status(id).reports[0]).toMatchObject(expected);
  });

  it('says nothing of still running when the procedure obeys', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id, deadlineAt: board.clock.now() + 1000 });
    const run = board.runs[0];
    run?.context.signal.addEventListener('abort', () => run.reject(run.context.signal.reason));
    await board.clock.advance(1000);
    expect(board.status(id).reports[0]?.error).toEqual({
      code: 'deadline-exceeded',
      message: "'careful' had not ended at the deadline",
    });
  });

  it('expires what has waited too long, and holds no place for what does not stop', async () => {
    const board = createTestBoard();
    const deadlineAt = board.clock.now() + 1000;
    for (let count = 0; count < 4; count += 1) await board.send({ deadlineAt });
    await board.send({ operationId: id, deadlineAt: deadlineAt - 500 });
    const last = randomUUID();
    await board.send({ operationId: last });
    await board.clock.advance(600);
    expect(board.status(id).reports[0]?.state).toBe('expired');
    await board.clock.advance(1000);
    expect(board.status(last).reports[0]?.state).toBe('running');
  });

  it('may be weeks away', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id, deadlineAt: board.clock.now() + 40 * 86_400_000 });
    expect(Math.max(...board.clock.pending())).toBeLessThan(2 ** 31);
    await board.clock.advance(3_600_000);
    expect(board.status(id).reports[0]?.state).toBe('running');
  });
});

describe('cancelling', () => {
  it('ends what waits, tells what runs to stop, and says what is not known', async () => {
    const board = createTestBoard();
    const ids = Array.from({ length: 5 }, () => randomUUID());
    for (const operationId of ids) await board.send({ operationId });
    const run = board.runs[0];
    run?.context.signal.addEventListener('abort', () => run.reject(run.context.signal.reason));
    const unknown = randomUUID();
    const [obeys = '', deaf = '', , , waits = ''] = ids;
    const answer = board.cancel(obeys, deaf, waits, unknown);
    await board.clock.advance(1000);
    const { reports, missing } = await answer;
    expect(reports.map((each) => each.state)).toEqual(['cancelled', 'running', 'cancelled']);
    expect(reports[0]?.error).toEqual({ code: 'cancelled', message: 'the operation was cancelled' });
    expect(missing).toEqual([unknown]);
    expect(readStored(board)[waits]).toBe('cancelled');
    board.runs[1]?.resolve('done all the same');
    await board.clock.advance(0);
    expect(board.status(deaf).reports[0]).toMatchObject({ state: 'succeeded' });
  });

  it('is remembered over a restart', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id, procedure: 'quick' });
    const answer = board.cancel(id);
    await board.clock.advance(1000);
    await answer;
    const again = await board.kill();
    expect(again.runs).toHaveLength(0);
    expect(again.status(id).reports[0]?.state).toBe('cancelled');
  });
});

describe('when the agent dies', () => {
  async function killed(procedure: string, advanceMs = 0, deadlineMs = 60_000) {
    const board = createTestBoard();
    await board.send({ operationId: id, procedure, deadlineAt: board.clock.now() + deadlineMs });
    expect(board.runs).toHaveLength(1);
    const dead = board.kill({ clock: board.clock });
    if (advanceMs > 0) await board.clock.advance(advanceMs);
    return dead;
  }

  it('in an idempotent procedure, it runs again in the same attempt', async () => {
    const again = await killed('quick');
    expect(again.runs[0]?.context.operation).toEqual({ id, attempt: 1 });
    again.runs[0]?.resolve('second');
    await again.clock.advance(0);
    expect(again.status(id).reports[0]).toMatchObject({ state: 'succeeded', result: 'second', runs: 2 });
  });

  it('in a journaled or at-most-once procedure, it is never run again', async () => {
    for (const [procedure, state] of [
      ['careful', 'interrupted'],
      ['once', 'interrupted'],
      ['retryable', 'failed'],
    ] as const) {
      const again = await killed(procedure);
      expect(again.runs).toHaveLength(0);
      expect(again.status(id).reports[0]).toMatchObject({ state, runs: 1 });
      expect((await again.send({ operationId: id, procedure })).report).toMatchObject({ state });
      expect(again.runs).toHaveLength(0);
    }
  });

  it('and the contract says so, a new attempt may run', async () => {
    const again = await killed('retryable');
    expect(again.status(id).reports[0]?.error?.code).toBe('interrupted');
    await again.send({ operationId: id, procedure: 'retryable', attempt: 2 });
    expect(again.runs).toHaveLength(1);
  });

  it('what waited is run, each once', async () => {
    const board = createTestBoard();
    const ids = Array.from({ length: 6 }, () => randomUUID());
    for (const operationId of ids) await board.send({ operationId });
    const again = await board.kill();
    expect(again.runs.map((each) => each.context.operation?.id)).toEqual(ids.slice(4));
  });

  it('and the procedure is gone afterwards, what ran is interrupted and what waited has failed', async () => {
    const board = createTestBoard();
    const ids = Array.from({ length: 5 }, () => randomUUID());
    for (const operationId of ids) await board.send({ operationId, procedure: 'quick' });
    const again = await board.kill({ contracts: contracts.filter((each) => each.name !== 'quick') });
    const states = again.status(...ids).reports.map((each) => each.state);
    expect(states).toEqual([...Array(4).fill('interrupted'), 'failed']);
  });

  it('while it stops, what obeys its signal counts as interrupted by that', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id });
    const run = board.runs[0];
    run?.context.signal.addEventListener('abort', () => run.reject(run.context.signal.reason));
    const stopped = board.operations.stop();
    await board.clock.advance(10);
    await stopped;
    await expect(board.send({})).rejects.toMatchObject({ code: 'unavailable' });
    const again = await board.kill();
    expect(again.status(id).reports[0]?.state).toBe('interrupted');
  });
});

describe('a disk that is full', () => {
  it('refuses what must be in the journal, runs the idempotent, and goes on when there is room', async () => {
    const board = createTestBoard();
    const free = fillDisk();
    for (const procedure of ['careful', 'once'])
      await expect(board.send({ operationId: id, procedure })).rejects.toMatchObject({ code: 'unavailable' });
    expect(board.runs).toHaveLength(0);
    expect(board.status(id).missing).toEqual([id]);
    await board.send({ procedure: 'quick' });
    expect(board.runs).toHaveLength(1);
    expect(board.operations.stats().fault).toContain('full');
    free();
    await board.send({ operationId: id });
    expect(board.runs).toHaveLength(2);
    expect(board.operations.stats().fault).toBeUndefined();
  });

  it('tells no outcome before it is on disk', async () => {
    const board = createTestBoard();
    const answer = board.send({ operationId: id, inlineMs: 1000 });
    const free = fillDisk();
    board.runs[0]?.resolve('done');
    expect((await answer).report).toMatchObject({ state: 'running' });
    free();
    await board.clock.advance(5000);
    expect(board.status(id).reports[0]).toMatchObject({ state: 'succeeded', result: 'done' });
  });

  it('keeps what waits waiting', async () => {
    const board = createTestBoard();
    for (let count = 0; count < 4; count += 1) await board.send({});
    await board.send({ operationId: id });
    const free = fillDisk();
    board.runs[0]?.resolve();
    await board.clock.advance(100);
    expect(board.runs).toHaveLength(4);
    free();
    await board.clock.advance(5000);
    expect(board.runs).toHaveLength(5);
  });
});

describe('a journal that is damaged', () => {
  it('is set aside at the start, and repeats of what it knew are refused', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id });
    const { journalEpoch } = await board.send({ operationId: id });
    const again = await board.kill();
    again.operations.close();
    writeFileSync(join(again.stateDir, 'journal.db'), 'not a database, but long enough'.repeat(100));
    const third = await again.kill();
    expect(third.operations.epoch()).not.toBe(journalEpoch);
    expect(third.operations.stats().setAside).toContain('damaged');
    expect(await third.send({ operationId: id, journalEpoch })).toMatchObject({ refusal: 'journal-lost' });
    expect(third.runs).toHaveLength(0);
  });
});
