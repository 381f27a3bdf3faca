/** What a reading says about a condition. Pure. */
import type { ReadingValue } from '../wamp/readings.ts';
import type { Criterion } from './rules.ts';

export interface WatchedReading {
  /** Measured time, epoch milliseconds. */
  at: number;
  value: ReadingValue;
}

export interface Signal {
  /** `between`: not bad, but within the hysteresis: it raises nothing and clears nothing. */
  is: 'bad' | 'good' | 'between';
  /** What was compared (a value, a rate); undefined for texts. */
  measure?: number;
}

/** undefined = the reading says nothing: it cannot be compared, or it is a stream's first and a rate is asked for. */
export function signalOf(
  { condition, hysteresis }: Pick<Criterion, 'condition' | 'hysteresis'>,
  reading: WatchedReading,
  previous: WatchedReading | undefined,
): Signal | undefined {
  if (condition.kind === 'noData' || condition.kind === 'boardOffline') return undefined;
  if (condition.kind === 'equals') return equality(condition.value, reading.value);
  const value = toNumber(reading.value);
  if (value === undefined) return undefined;
  switch (condition.kind) {
    case 'above':
      return judge(value, value - condition.threshold, hysteresis);
    case 'below':
      return judge(value, condition.threshold - value, hysteresis);
    case 'outside':
      return judge(value, Math.max(condition.low - value, value - condition.high), hysteresis);
    case 'rate': {
      const rate = rateOf(reading.at, value, previous);
      if (rate === undefined) return undefined;
      const { direction, perSecond } = condition;
      const measure = direction === 'either' ? Math.abs(rate) : rate;
      return judge(rate, (direction === 'falling' ? -measure : measure) - perSecond, hysteresis);
    }
  }
}

/** @param excess how far beyond the threshold; at the threshold itself nothing is bad */
function judge(measure: number, excess: number, hysteresis: number): Signal {
  if (excess > 0) return { is: 'bad', measure };
  return { is: excess <= -hysteresis ? 'good' : 'between', measure };
}

function rateOf(at: number, value: number, previous: WatchedReading | undefined): number | undefined {
  const before = previous && toNumber(previous.value);
  // Of one and the same moment: no time has passed in which it could have changed.
  if (!previous || before === undefined || at <= previous.at) return undefined;
  return ((value - before) * 1000) / (at - previous.at);
}

/** Stored booleans come back as 0 and 1. */
function equality(wanted: ReadingValue, value: ReadingValue): Signal | undefined {
  if (typeof wanted === 'string')
    return typeof value === 'string' ? { is: wanted === value ? 'bad' : 'good' } : undefined;
  const measure = toNumber(value);
  return measure === undefined ? undefined : { is: Number(wanted) === measure ? 'bad' : 'good', measure };
}

function toNumber(value: ReadingValue): number | undefined {
  return typeof value === 'string' ? undefined : Number(value);
}

/** True when `measure` is worse than `peak`: farther on the bad side. */
export function isWorse({ condition }: Pick<Criterion, 'condition'>, measure: number, peak: number): boolean {
  switch (condition.kind) {
    case 'above':
      return measure > peak;
    case 'below':
      return measure < peak;
    case 'outside': {
      const excess = (value: number) => Math.max(condition.low - value, value - condition.high);
      return excess(measure) > excess(peak);
    }
    case 'rate':
      if (condition.direction === 'either') return Math.abs(measure) > Math.abs(peak);
      return condition.direction === 'rising' ? measure > peak : measure < peak;
    default:
      return false;
  }
}
