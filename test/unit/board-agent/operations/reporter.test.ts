import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../../../../common/runtime/app-error.ts';
import { operationLimits } from '../../../../common/wamp/operation-limits.ts';
import { parseResultRequest } from '../../../../common/wamp/operations.ts';
import { cleanUp, createTestBoard, readStored, type TestBoard } from './support.ts';

const id = randomUUID();

afterEach(cleanUp);

/** An operation that has ended; `answered` inline or not. */
async function ended(
  board: TestBoard,
  result: unknown = null,
  { operationId = randomUUID(), answered = false, procedure = 'careful' } = {},
): Promise<string> {
  const answer = board.send({ operationId, procedure, inlineMs: answered ? 1000 : 0 });
  board.runs.at(-1)?.resolve(result);
  await answer;
  await board.clock.advance(0);
  return operationId;
}

const reportedIds = (board: TestBoard) => board.server.reports.map((each) => each.operationId);

describe('the reporter', () => {
  it('reports at once what was not answered inline, and acknowledged is told once', async () => {
    const board = createTestBoard();
    board.goOnline();
    await ended(board, { v: 1 }, { operationId: id });
    expect(board.server.reports).toMatchObject([{ operationId: id, state: 'succeeded', result: { v: 1 } }]);
    await board.clock.advance(3_600_000);
    expect(board.server.reports).toHaveLength(1);
    expect(board.operations.stats().unacknowledged).toBe(0);
  });

  it('reports a little later what was answered inline', async () => {
    const board = createTestBoard();
    board.goOnline();
    await ended(board, 1, { answered: true });
    await board.clock.advance(2900);
    expect(board.server.reports).toHaveLength(0);
    await board.clock.advance(200);
    expect(board.server.reports).toHaveLength(1);
  });

  it('keeps at it until it is acknowledged, more and more slowly, also after a restart', async () => {
    const board = createTestBoard();
    board.server.onReports = () => {
      throw new AppError('unavailable', 'no database');
    };
    await ended(board, 1, { operationId: id });
    board.goOnline();
    await board.clock.advance(600_000);
    expect(board.server.reports.length).toBeGreaterThan(5);
    expect(board.server.reports.length).toBeLessThan(30);
    board.goOffline();
    const again = await board.kill();
    again.server.reports.length = 0;
    again.server.onReports = () => ({ acknowledged: [] });
    again.goOnline();
    await again.clock.advance(10_000);
    expect(again.server.reports.length).toBeGreaterThan(1);
    expect(again.operations.stats().unacknowledged).toBe(1);
    again.server.onReports = () => ({ acknowledged: [id] });
    await again.clock.advance(120_000);
    expect(again.operations.stats().unacknowledged).toBe(0);
  });

  it('says nothing of what waits or runs', async () => {
    const board = createTestBoard();
    board.goOnline();
    for (let count = 0; count < 6; count += 1) await board.send({});
    await board.clock.advance(60_000);
    expect(board.server.reports).toEqual([]);
  });

  it('keeps to the limits of a call, whatever it has to say', async () => {
    const board = createTestBoard();
    const requests: { count: number; bytes: number }[] = [];
    board.server.onReports = (request) => {
      parseResultRequest(request);
      requests.push({ count: request.reports.length, bytes: JSON.stringify(request.reports).length });
      return { acknowledged: request.reports.map((each) => each.operationId) };
    };
    for (let count = 0; count < 120; count += 1) await ended(board, count);
    for (let count = 0; count < 5; count += 1) await ended(board, 'x'.repeat(250_000));
    board.goOnline();
    for (let turn = 0; turn < 20; turn += 1) await board.clock.advance(1000);
    expect(new Set(reportedIds(board)).size).toBe(125);
    for (const { count, bytes } of requests) {
      expect(count).toBeLessThanOrEqual(operationLimits.reports);
      expect(bytes).toBeLessThanOrEqual(operationLimits.reportsBytes + 1000);
    }
  });

  it('finds the outcome that the server refuses, and sends it without what offends', async () => {
    const board = createTestBoard();
    board.server.onReports = ({ reports }) => {
      if (reports.some((each) => each.result === 'poison')) throw new AppError('invalid-arguments', 'bad');
      return { acknowledged: reports.map((each) => each.operationId) };
    };
    for (let count = 0; count < 10; count += 1) await ended(board, count);
    await ended(board, 'poison', { operationId: id });
    for (let count = 0; count < 10; count += 1) await ended(board, count);
    board.goOnline();
    for (let turn = 0; turn < 60; turn += 1) await board.clock.advance(1000);
    expect(board.operations.stats().unacknowledged).toBe(0);
    const last = board.server.reports.filter((each) => each.operationId === id).at(-1);
    expect(last).toMatchObject({
      state: 'succeeded',
      progress: { message: 'the server would not take all of its outcome: bad' },
    });
    expect(last?.result).toBeUndefined();
  });

  it('leaves nothing out because of an answer that it cannot read', async () => {
    const board = createTestBoard();
    board.server.onReports = () => ({ acknowledged: 'all' });
    await ended(board, 'precious', { operationId: id });
    board.goOnline();
    await board.clock.advance(600_000);
    expect(board.server.reports.length).toBeGreaterThan(6);
    expect(board.server.reports.at(-1)).toMatchObject({ result: 'precious' });
  });

  it('an acknowledgement of an older attempt does not count for the newer', async () => {
    const board = createTestBoard();
    const gate = Promise.withResolvers<unknown>();
    board.server.onReports = () => gate.promise;
    board.goOnline();
    await ended(board, 1, { operationId: id });
    await board.send({ operationId: id, attempt: 2 });
    board.runs.at(-1)?.resolve(2);
    await board.clock.advance(0);
    gate.resolve({ acknowledged: [id] });
    await board.clock.advance(0);
    board.server.onReports = ({ reports }) => ({ acknowledged: reports.map((each) => each.operationId) });
    await board.clock.advance(5000);
    expect(board.server.reports.map((each) => each.attempt)).toContain(2);
  });
});

describe('progress', () => {
  it('is sent at most once a second, the latest wins, and not after the end', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id });
    const run = board.runs[0];
    for (let percent = 0; percent <= 50; percent += 10) {
      run?.context.progress?.({ percent, message: `at ${percent}` });
      await board.clock.advance(100);
    }
    await board.clock.advance(1000);
    expect(board.server.progress.map((each) => each.progress.percent)).toEqual([0, 50]);
    expect(board.status(id).reports[0]?.progress).toEqual({ percent: 50, message: 'at 50' });
    run?.context.progress?.({ percent: 60 });
    run?.resolve();
    await board.clock.advance(5000);
    expect(board.server.progress).toHaveLength(2);
    run?.context.progress?.({ percent: 70 });
    await board.clock.advance(5000);
    expect(board.server.progress).toHaveLength(2);
  });

  it('is not sent of what the journal would forget', async () => {
    const board = createTestBoard();
    await board.send({ operationId: id, procedure: 'quick', inlineMs: 0 });
    const other = randomUUID();
    const answer = board.send({ operationId: other, procedure: 'quick', inlineMs: 1000 });
    expect(readStored(board)[other]).toBeUndefined();
    board.runs.at(-1)?.context.progress?.({ percent: 1 });
    expect(readStored(board)[other]).toBe('running');
    board.runs.at(-1)?.resolve();
    await answer;
  });

  it('takes any other form as data, and drops what is too large or no JSON', async () => {
    const board = createTestBoard();
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    for (const value of [{ step: 3 }, 'half', undefined, circular, 'x'.repeat(70_000), { percent: 200 }]) {
      await board.send({});
      board.runs.at(-1)?.context.progress?.(value);
      board.runs.at(-1)?.resolve();
      await board.clock.advance(0);
    }
    expect(board.server.progress.map((each) => each.progress)).toEqual([
      { data: { step: 3 } },
      { data: 'half' },
      { data: { percent: 200 } },
    ]);
  });

  it('offline it is lost, and nothing else happens', async () => {
    const board = createTestBoard();
    board.server.online = false;
    await board.send({ operationId: id });
    board.runs[0]?.context.progress?.({ percent: 1 });
    await board.clock.advance(5000);
    board.runs[0]?.resolve(1);
    await board.clock.advance(0);
    expect(board.status(id).reports[0]?.state).toBe('succeeded');
  });
});

describe('what is kept', () => {
  it('goes a week after its deadline once acknowledged, and the journal says since when it knows all', async () => {
    const board = createTestBoard();
    board.operations.noteGreeting();
    const { since } = board.status(id);
    board.goOnline();
    await ended(board, 1, { operationId: id });
    const deadlineAt = board.clock.now() + 3_600_000;
    board.goOffline();
    board.clock.set(board.clock.now() + 6 * 86_400_000);
    await board.clock.advance(70_000);
    expect((await board.send({ operationId: id })).report).toMatchObject({ state: 'succeeded' });
    expect(board.status(id).since).toBe(since);
    board.clock.set(deadlineAt + 7 * 86_400_000 + 1);
    await ended(board, 2);
    await board.clock.advance(70_000);
    await ended(board, 3);
    expect(board.status(id)).toMatchObject({ missing: [id], since: deadlineAt + 1 });
  });

  it('never drops what is not acknowledged', async () => {
    const board = createTestBoard();
    await ended(board, 1, { operationId: id });
    board.clock.set(board.clock.now() + 60 * 86_400_000);
    await board.clock.advance(120_000);
    await ended(board, 2);
    expect(board.status(id).reports[0]).toMatchObject({ state: 'succeeded', result: 1 });
  });
});
