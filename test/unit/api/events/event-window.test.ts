import { describe, expect, it } from 'vitest';
import { createEventWindow, type EventStamp, eventWindowMs } from '../../../../api/events/event-window.ts';

/** A table with rows that become visible some time after they were stamped. */
function table() {
  const rows: (EventStamp & { visibleAt: number })[] = [];
  return {
    insert: (id: number, at: number, visibleAt = at) => void rows.push({ id, at, visibleAt }),
    read: (now: number, since: number) => rows.filter((row) => row.visibleAt <= now && row.at >= since),
  };
}

describe('the window of the event tail', () => {
  function tail() {
    const window = createEventWindow();
    const events = table();
    return {
      window,
      events,
      poll(now: number): number[] {
        const fresh = window.fresh(events.read(now, window.since ?? now - eventWindowMs));
        window.markHad(fresh);
        window.complete(now);
        return fresh.map(({ id }) => id);
      },
    };
  }

  it('sends each row once, however often it is read', () => {
    const { events, poll } = tail();
    events.insert(1, 1000);
    expect(poll(1100)).toEqual([1]);
    expect(poll(1300)).toEqual([]);
    events.insert(2, 1400);
    expect(poll(1500)).toEqual([2]);
    expect(poll(9000)).toEqual([]);
  });

  it('sends a row that was committed after rows with higher ids and later times', () => {
    const { events, poll } = tail();
    events.insert(7, 1000, 4500);
    events.insert(8, 1200);
    expect(poll(1300)).toEqual([8]);
    expect(poll(4400)).toEqual([]);
    expect(poll(4600)).toEqual([7]);
  });

  it('does not take ids for an order: a server of its own block may count lower', () => {
    const { events, poll } = tail();
    events.insert(1_000_000, 1000);
    expect(poll(1100)).toEqual([1_000_000]);
    events.insert(17, 1200);
    expect(poll(1300)).toEqual([17]);
  });

  it('reads on from its last good read after an outage longer than the window', () => {
    const { events, poll } = tail();
    expect(poll(1000)).toEqual([]);
    events.insert(1, 2000);
    events.insert(2, 60_000);
    expect(poll(120_000)).toEqual([1, 2]);
  });

  it('has had only what was marked when a read fails half way', () => {
    const window = createEventWindow();
    window.complete(1000);
    const stamps = [
      { id: 1, at: 1100 },
      { id: 2, at: 1100 },
    ];
    window.markHad(stamps.slice(0, 1));
    expect(window.since).toBe(1000 - eventWindowMs);
    expect(window.fresh(stamps).map(({ id }) => id)).toEqual([2]);
  });

  it('forgets rows that a read can not give any more', () => {
    const { window, events, poll } = tail();
    events.insert(1, 1000);
    poll(1100);
    poll(1100 + eventWindowMs);
    expect(window.fresh([{ id: 1, at: 1000 }])).toHaveLength(1);
    expect(poll(1200 + eventWindowMs)).toEqual([]);
  });
});
