/** What a spool holds. */
import type { ReadingValue, StreamDeclaration } from '../../common/wamp/readings.ts';

export interface Reading {
  stream: StreamDeclaration;
  /** Epoch milliseconds. */
  at: number;
  value: ReadingValue;
}
