/**
 * Pino, set up once: JSON lines on stdout, scope per part, secrets redacted by key name.
 * Levels say who must act: error = an operator now; warn = it healed or will; info = milestones;
 * debug = developers.
 */
import { type DestinationStream, type LoggerOptions, pino } from 'pino';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'silent';
export const logLevels = ['error', 'warn', 'info', 'debug', 'silent'] as const satisfies readonly LogLevel[];

export interface Logger {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
  child(fields: Record<string, unknown>): Logger;
}

const secretKeys = [
  'password',
  'ticket',
  'key',
  'enrolmentCode',
  'token',
  'secret',
  'authorization',
  'cookie',
  'privateKey',
];

/** @param name the process, e.g. `api`; it stands in every line. */
export function createLogger(name: string, level: LogLevel): Logger {
  const options: LoggerOptions = {
    name,
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secretKeys.flatMap((each) => [each, `*.${each}`]), censor: '[redacted]' },
  };
  return pino(options, openStandardOutput());
}

/** What waits for a full disk or a slow reader; beyond it lines are dropped. */
const maxWaitingBytes = 1_000_000;

/** Standard output, for which a full disk is no reason to end: nor, on the way out, to stay. */
function openStandardOutput(): DestinationStream {
  const output = pino.destination({ dest: 1, sync: false, maxLength: maxWaitingBytes });
  let isFailing = false;
  output.on('error', () => {
    isFailing = true;
  });
  output.on('write', () => {
    isFailing = false;
  });
  const flushSync = output.flushSync.bind(output);
  output.flushSync = () => {
    if (!isFailing) flushSync();
  };
  return output;
}
