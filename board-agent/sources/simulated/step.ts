/**
 * Procedures that take as long as they are told and count how often they were really run: for demos,
 * and for proving that an operation takes effect once. Each execution is a line on disk before
 * anything else happens.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { type Clock, pause } from '../../clock.ts';
import type { BoardProcedure, CallContext } from '../source.ts';

export interface StepOptions {
  /** `step` must not run twice for one attempt; `wait` may. */
  name: 'step' | 'wait';
  module: string;
  prefix: string;
  clock: Clock;
  /** Lines of JSON: `{module, procedure, operationId, attempt, at, label}`. */
  logPath: string;
}

const progressMs = 1000;

export function createStepProcedure({ name, module, prefix, clock, logPath }: StepOptions): BoardProcedure {
  let count: number | undefined;

  function append(context: CallContext, label: unknown): number {
    count ??= countExecutions(logPath, { module, procedure: name });
    const { operation } = context;
    const line = {
      module,
      procedure: name,
      operationId: operation?.id ?? null,
      attempt: operation?.attempt ?? null,
      at: clock.now(),
      ...(label !== undefined && { label }),
    };
    const file = openSync(logPath, 'a', 0o600);
    try {
      writeSync(file, `${JSON.stringify(line)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    count += 1;
    return count;
  }

  return {
    contract: {
      name: `${prefix}.${name}`,
      description: 'Counts one execution, takes the given time, and answers how many there were.',
      kwargs: {
        type: 'object',
        properties: {
          label: { type: 'string', maxLength: 100 },
          seconds: { type: 'number', minimum: 0, maximum: 3600 },
        },
        additionalProperties: false,
      },
      result: { type: 'object', properties: { count: { type: 'integer' } }, required: ['count'] },
      safety: name === 'step' ? 'journaled' : 'idempotent',
      progress: true,
    },
    async run({ label, seconds }, context) {
      const counted = append(context, label);
      const totalMs = typeof seconds === 'number' ? seconds * 1000 : 0;
      const startedMs = clock.monotonicMs();
      for (let leftMs = totalMs; leftMs > 0; leftMs = totalMs - (clock.monotonicMs() - startedMs)) {
        context.progress?.({ percent: Math.floor(100 * (1 - leftMs / totalMs)) });
        await pause(clock, Math.min(leftMs, progressMs), context.signal);
        context.signal.throwIfAborted();
      }
      return { count: counted };
    },
  };
}

/** Lines that begin with the given members. */
function countExecutions(logPath: string, of: object): number {
  let text: string;
  try {
    text = readFileSync(logPath, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
  const beginning = `${JSON.stringify(of).slice(0, -1)},`;
  return text.split('\n').filter((line) => line.startsWith(beginning)).length;
}
