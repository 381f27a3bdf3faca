/**
 * Pino, set up once: JSON lines on stdout, scope per part, secrets redacted by key name.
 * Levels say who must act: error = an operator now; warn = it healed or will; info = milestones;
 * debug = developers.
 */
import { pino } from 'pino';

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
  return pino({
    name,
    level,
    base: { pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: secretKeys.flatMap((each) => [each, `*.${each}`]), censor: '[redacted]' },
  });
}
