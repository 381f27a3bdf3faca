/**
 * Reads environment variables and reports every fault at once, so that an operator fixes a unit
 * file in one go. A variable `NAME` may be given as `NAME_FILE`, a path whose content is the value
 * (systemd credentials, mounted secrets).
 */
import { readFileSync } from 'node:fs';
import { messageOf } from './app-error.ts';

export type Env = Readonly<Record<string, string | undefined>>;

export interface EnvReader {
  /** A variable that must be there. */
  required(name: string): string;
  optional(name: string): string | undefined;
  string(name: string, fallback: string): string;
  /** A whole number within [min, max]. */
  integer(name: string, fallback: number, range: { min: number; max: number }): number;
  boolean(name: string, fallback: boolean): boolean;
  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T;
  /** Comma-separated, empty parts dropped. */
  list(name: string, fallback: readonly string[]): string[];
  /** Adds a fault that the caller found, to be reported with the others. */
  fault(message: string): void;
  /** Throws ConfigError when any of the reads above met a fault. */
  finish(): void;
}

export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`Configuration faults:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

export function createEnvReader(env: Env): EnvReader {
  const faults: string[] = [];

  function read(name: string): string | undefined {
    const direct = env[name];
    const path = env[`${name}_FILE`];
    if (direct !== undefined && direct !== '') return direct;
    if (path === undefined || path === '') return undefined;
    try {
      return readFileSync(path, 'utf8').trim();
    } catch (error) {
      faults.push(`${name}_FILE: ${messageOf(error)}`);
      return undefined;
    }
  }

  const reader: EnvReader = {
    required(name) {
      const value = read(name);
      if (value === undefined) faults.push(`${name} is required`);
      return value ?? '';
    },
    optional: read,
    string: (name, fallback) => read(name) ?? fallback,
    integer(name, fallback, { min, max }) {
      const text = read(name);
      if (text === undefined) return fallback;
      const value = Number(text);
      if (/^-?\d+$/.test(text) && value >= min && value <= max) return value;
      faults.push(`${name} must be a whole number from ${min} to ${max}, not '${text}'`);
      return fallback;
    },
    boolean(name, fallback) {
      const text = read(name);
      if (text === undefined) return fallback;
      if (['1', 'true', 'yes'].includes(text)) return true;
      if (['0', 'false', 'no'].includes(text)) return false;
      faults.push(`${name} must be 1 or 0, not '${text}'`);
      return fallback;
    },
    oneOf(name, allowed, fallback) {
      const text = read(name);
      if (text === undefined) return fallback;
      const match = allowed.find((each) => each === text);
      if (match === undefined) faults.push(`${name} must be one of ${allowed.join(', ')}, not '${text}'`);
      return match ?? fallback;
    },
    list(name, fallback) {
      const text = read(name);
      if (text === undefined) return [...fallback];
      return text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== '');
    },
    fault: (message) => void faults.push(message),
    finish() {
      if (faults.length > 0) throw new ConfigError(faults);
    },
  };
  return reader;
}
