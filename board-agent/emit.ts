/** The one door into the spool: what is not fit for the wire stays out, and is said once per stream. */
import type { Logger } from '../common/runtime/logger.ts';
import { type ReadingValue, readingsLimits, type StreamDeclaration } from '../common/wamp/readings.ts';
import type { Clock } from './clock.ts';
import type { Emit } from './sources/source.ts';
import type { Spool } from './spool/spool.ts';

export interface EmitOptions {
  spool: Pick<Spool, 'add'>;
  clock: Clock;
  logger: Logger;
}

export function createEmit({ spool, clock, logger }: EmitOptions): Emit {
  /** Names of streams whose fault has been logged. */
  const said = new Set<string>();
  return (stream, value, at = clock.now()) => {
    const fault = findFault(stream, value, at);
    if (fault === undefined) {
      spool.add({ stream, at, value });
    } else if (!said.has(stream.name)) {
      said.add(stream.name);
      logger.warn({ stream: stream.name, fault }, 'a reading was dropped: it cannot be sent');
    }
  };
}

function findFault(stream: StreamDeclaration, value: ReadingValue, at: number): string | undefined {
  if (!Number.isSafeInteger(at) || at < 0) return 'its time is not in epoch milliseconds';
  if (stream.type === 'number') return Number.isFinite(value) ? undefined : 'it is not a finite number';
  if (stream.type === 'boolean') return typeof value === 'boolean' ? undefined : 'it is not a boolean';
  if (typeof value !== 'string') return 'it is not a text';
  return value.length <= readingsLimits.textLength ? undefined : 'it is too long';
}
