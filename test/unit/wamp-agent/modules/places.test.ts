import { describe, expect, it } from 'vitest';
import { type ModuleState, moduleLimits, strangerQuietMs } from '../../../../common/wamp/modules.ts';
import { placeAll, type QuietStranger } from '../../../../wamp-agent/modules/places.ts';
import type { FoundModule } from '../../../../wamp-agent/modules/report-queries.ts';

const now = Date.UTC(2026, 10, 28);
const { perBoard, strangers } = moduleLimits;

const found = (name: string, decided: ModuleState = 'quarantined'): FoundModule => ({
  name,
  decided,
  source: 'field',
  state: 'quarantined',
  firstSeenAt: now,
  lastSeenAt: now,
  lastSeq: null,
  received: 0,
  duplicate: 0,
  missed: 0,
  late: 0,
  restarted: 0,
  badMac: 0,
  refused: 0,
});
const quiet = (name: string, agoMs: number): QuietStranger => ({ name, lastSeenAt: new Date(now - agoMs) });
const names = (each: readonly { name: string }[]) => each.map(({ name }) => name);

describe('places for devices that were found', () => {
  it('are taken while there are some', () => {
    const placed = placeAll(
      [found('a'), found('b'), found('c', 'accepted')],
      { devices: strangers, strangers: strangers - 1 },
      [],
    );
    expect(names(placed.found)).toEqual(['a', 'c']);
    expect(names(placed.withoutRoom)).toEqual(['b']);
    expect(placed.forgotten).toEqual([]);
  });

  it('come from strangers that have been quiet, the longest unheard first', () => {
    const placed = placeAll([found('a'), found('b'), found('c')], { devices: 200, strangers }, [
      quiet('oldest', 3 * strangerQuietMs),
      quiet('old', strangerQuietMs),
      quiet('fresh', strangerQuietMs - 1),
    ]);
    expect(names(placed.found)).toEqual(['a', 'b']);
    expect(placed.forgotten).toEqual(['oldest', 'old']);
    expect(names(placed.withoutRoom)).toEqual(['c']);
  });

  it('are given up by strangers for a device that is let in, when the board has no others', () => {
    const placed = placeAll(
      [found('a', 'accepted'), found('b', 'accepted')],
      { devices: perBoard, strangers: 1 },
      [quiet('old', strangerQuietMs)],
    );
    expect(names(placed.found)).toEqual(['a']);
    expect(placed.forgotten).toEqual(['old']);
    expect(names(placed.withoutRoom)).toEqual(['b']);
  });
});
