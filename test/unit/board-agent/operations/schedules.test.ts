import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { type BoardSchedule, scheduledOperationId } from '../../../../common/wamp/board-schedules.ts';
import { until } from '../../../harness/until.ts';
import { createFakeClock } from '../fakes.ts';
import { cleanUp, createTestBoard, fillDisk, type TestBoard } from './support.ts';

const scheduleId = randomUUID();
const start = Date.UTC(2026, 0, 1);
const minute = 60_000;

afterEach(cleanUp);

/** Due at every full minute after the start. */
const everyMinute: BoardSchedule = {
  scheduleId,
  version: 1,
  timing: { kind: 'interval', everySeconds: 60, from: start },
  procedure: 'careful',
  kwargs: { a: 1 },
  deadlineSeconds: 30,
  jitterSeconds: 0,
  overlap: 'skip',
  catchUp: { mode: 'none', limit: 1 },
  after: start,
};

async function store(board: TestBoard, ...schedules: BoardSchedule[]): Promise<unknown> {
  return board.operations.reserved['operation.schedules']?.({ schedules });
}

const dueTimes = (board: TestBoard) =>
  board.server.reports.map((each) => ((each.schedule?.dueAt ?? 0) - start) / minute);

/** Lets every run end at once. */
async function advance(board: TestBoard, ms: number, stepMs = 5000): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await board.clock.advance(Math.min(stepMs, ms - passed));
    for (const run of board.runs) run.resolve();
    await board.clock.advance(0);
  }
}

/** After a start: the library for times is loaded, which takes real time. */
async function loaded(board: TestBoard): Promise<void> {
  await until('the schedules are loaded', async () => {
    await board.clock.advance(0);
    return board.operations.stats().schedules > 0;
  });
  await until('they wait', async () => {
    await board.clock.advance(0);
    return board.clock.pending().length > 0;
  });
}

describe('schedules on the board', () => {
  it('fire at each due time, without a link, and are reported when there is one', async () => {
    const board = createTestBoard();
    expect(await store(board, everyMinute)).toEqual({ stored: 1 });
    await advance(board, 3.5 * minute);
    expect(board.runs.map((each) => each.kwargs)).toEqual(Array(3).fill({ a: 1 }));
    board.goOnline();
    await board.clock.advance(1000);
    expect(dueTimes(board)).toEqual([1, 2, 3]);
    for (const report of board.server.reports)
      expect(report).toMatchObject({
        operationId: scheduledOperationId(scheduleId, report.schedule?.dueAt ?? 0),
        attempt: 1,
        state: 'succeeded',
        schedule: { scheduleId },
      });
  });

  it('are replaced as a whole, and what has fired stays fired', async () => {
    const board = createTestBoard();
    await store(board, everyMinute);
    await advance(board, 2.5 * minute);
    await store(board, { ...everyMinute, version: 2, timing: { ...everyMinute.timing } });
    await advance(board, minute);
    expect(board.runs).toHaveLength(3);
    await store(board);
    await advance(board, 5 * minute);
    expect(board.runs).toHaveLength(3);
    expect(board.operations.stats().schedules).toBe(0);
  });

  it('refuse what cannot be kept, all of it', async () => {
    const board = createTestBoard();
    const cron = { kind: 'cron', cron: '0 61 * * *', timeZone: 'Europe/Rome' } as const;
    await expect(
      store(board, everyMinute, { ...everyMinute, scheduleId: randomUUID(), timing: cron }),
    ).rejects.toMatchObject({ code: 'invalid-arguments', message: expect.stringContaining('schedules[1]') });
    expect(board.operations.stats().schedules).toBe(0);
  });

  it('report a run that fails, and one of a procedure that is not there', async () => {
    const board = createTestBoard();
    board.goOnline();
    await store(board, { ...everyMinute, procedure: 'nothing' });
    await board.clock.advance(minute);
    expect(board.server.reports).toMatchObject([
      { state: 'failed', error: { code: 'procedure-not-found' }, schedule: { dueAt: start + minute } },
    ]);
  });

  it('wait for their jitter', async () => {
    const board = createTestBoard();
    await store(board, { ...everyMinute, jitterSeconds: 20 });
    await board.clock.advance(minute + 9_900);
    expect(board.runs).toHaveLength(0);
    await board.clock.advance(200);
    expect(board.runs).toHaveLength(1);
  });

  it('keep local times of their zone', async () => {
    const board = createTestBoard({ clock: createFakeClock(Date.UTC(2026, 9, 24, 12)) });
    const timing = { kind: 'cron', cron: '30 2 * * *', timeZone: 'Europe/Rome' } as const;
    await store(board, { ...everyMinute, timing, after: board.clock.now() });
    await advance(board, 48 * 60 * minute, minute);
    board.goOnline();
    await board.clock.advance(1000);
    expect(board.server.reports.map((each) => new Date(each.schedule?.dueAt ?? 0).toISOString())).toEqual([
      '2026-10-25T00:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
    ]);
  });
});

describe('a due time while the run before goes on', () => {
  it('is skipped', async () => {
    const board = createTestBoard();
    await store(board, { ...everyMinute, deadlineSeconds: 600 });
    await board.clock.advance(3.5 * minute);
    expect(board.runs).toHaveLength(1);
    board.runs[0]?.resolve();
    await board.clock.advance(minute);
    expect(board.runs).toHaveLength(2);
  });

  it('waits for it', async () => {
    const board = createTestBoard();
    await store(board, { ...everyMinute, deadlineSeconds: 600, overlap: 'queue' });
    await board.clock.advance(3.5 * minute);
    expect(board.runs).toHaveLength(1);
    expect(board.operations.stats()).toMatchObject({ waiting: 2, running: 1 });
    board.runs[0]?.resolve();
    await board.clock.advance(0);
    expect(board.runs).toHaveLength(2);
    expect(board.operations.stats()).toMatchObject({ waiting: 1, running: 1 });
  });

  it('cancels it', async () => {
    const board = createTestBoard();
    board.goOnline();
    await store(board, { ...everyMinute, deadlineSeconds: 600, overlap: 'cancel-previous' });
    await board.clock.advance(minute);
    const first = board.runs[0];
    first?.context.signal.addEventListener('abort', () => first.reject(first.context.signal.reason));
    await board.clock.advance(minute);
    expect(board.runs).toHaveLength(2);
    expect(board.server.reports).toMatchObject([{ state: 'cancelled', schedule: { dueAt: start + minute } }]);
  });
});

describe('after an outage', () => {
  async function outage(catchUp: BoardSchedule['catchUp'], minutes: number): Promise<TestBoard> {
    const board = createTestBoard();
    await store(board, { ...everyMinute, catchUp, deadlineSeconds: 86_400 });
    await advance(board, 1.5 * minute);
    const dead = await board.kill({ clock: createFakeClock(board.clock.now() + minutes * minute) });
    await loaded(dead);
    dead.goOnline();
    await advance(dead, 10_000, 1000);
    return dead;
  }

  it('nothing is made up for', async () => {
    const board = await outage({ mode: 'none', limit: 1 }, 10.6);
    // The last due time, 6 s ago, is not missed yet; those before are.
    expect(dueTimes(board)).toEqual([1, 12]);
  });

  it('or the last due time', async () => {
    const board = await outage({ mode: 'last', limit: 1 }, 10);
    expect(dueTimes(board)).toEqual([1, 11]);
  });

  it('or all, the newest up to the limit, one after the other', async () => {
    const board = await outage({ mode: 'all', limit: 4 }, 10);
    expect(dueTimes(board).sort((left, right) => left - right)).toEqual([1, 8, 9, 10, 11]);
  });
});

describe('what is made up for', () => {
  it('has its time from when it begins, not from a due time that is long over', async () => {
    const board = createTestBoard();
    await store(board, { ...everyMinute, catchUp: { mode: 'all', limit: 4 }, deadlineSeconds: 30 });
    await advance(board, 1.1 * minute);
    const late = await board.kill({ clock: createFakeClock(board.clock.now() + 10 * minute) });
    await loaded(late);
    late.goOnline();
    await advance(late, 10_000, 1000);
    expect(late.server.reports.filter(({ state }) => state === 'expired')).toEqual([]);
    expect(dueTimes(late)).toEqual(expect.arrayContaining([8, 9, 10]));
  });
});

describe('each due time is fired once', () => {
  it('when the agent dies right after, and when it dies again and again', async () => {
    let board = createTestBoard();
    await store(board, { ...everyMinute, deadlineSeconds: 600 });
    await board.clock.advance(minute);
    expect(board.runs).toHaveLength(1);
    for (let round = 0; round < 3; round += 1) {
      board = await board.kill({ clock: createFakeClock(board.clock.now() + 1000) });
      await loaded(board);
      await board.clock.advance(1000);
      expect(board.runs).toHaveLength(0);
    }
    board.goOnline();
    await board.clock.advance(1000);
    expect(board.server.reports).toMatchObject([
      { state: 'interrupted', schedule: { dueAt: start + minute } },
    ]);
  });

  it('when the clock jumps back and forth', async () => {
    const board = createTestBoard();
    await store(board, { ...everyMinute, catchUp: { mode: 'all', limit: 5 } });
    await advance(board, 2.5 * minute);
    board.clock.set(start);
    await advance(board, 2 * minute);
    expect(board.runs).toHaveLength(2);
    await advance(board, minute);
    expect(board.runs).toHaveLength(3);
    board.clock.set(start + 100_000 * minute);
    await advance(board, 2 * minute);
    expect(board.runs.length).toBeLessThanOrEqual(3 + 5 + 2);
  });

  it('and a clock that was far ahead before the server was heard does not end the schedule', async () => {
    const board = createTestBoard({ clock: createFakeClock(start + 1_000_000 * minute) });
    await store(board, { ...everyMinute, catchUp: { mode: 'last', limit: 1 } });
    await advance(board, 10_000);
    const before = board.runs.length;
    board.clock.set(start + 30_000);
    board.operations.noteGreeting();
    await advance(board, 2 * minute);
    expect(board.runs).toHaveLength(before + 2);
  });

  it('when the journal could not be written at the time', async () => {
    const board = createTestBoard();
    await store(board, everyMinute);
    const free = fillDisk();
    await board.clock.advance(minute + 5000);
    expect(board.runs).toHaveLength(0);
    free();
    await advance(board, 10_000);
    expect(board.runs).toHaveLength(1);
  });

  it('and the server may run it again as another attempt', async () => {
    const board = createTestBoard();
    await store(board, everyMinute);
    await board.clock.advance(minute);
    board.runs[0]?.reject(new Error('no'));
    await board.clock.advance(0);
    const operationId = scheduledOperationId(scheduleId, start + minute);
    expect((await board.send({ operationId, attempt: 2 })).report).toMatchObject({
      attempt: 2,
      state: 'running',
    });
  });
});
