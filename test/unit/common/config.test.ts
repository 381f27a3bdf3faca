import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError, createEnvReader } from '../../../common/runtime/config.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

describe('environment reader', () => {
  it('reports every fault at once', () => {
    const reader = createEnvReader({ PORT: 'eighty', LEVEL: 'loud', FLAG: 'maybe' });
    reader.required('URL');
    reader.integer('PORT', 80, { min: 1, max: 65_535 });
    reader.oneOf('LEVEL', ['info', 'warn'], 'info');
    reader.boolean('FLAG', false);
    let fault: unknown;
    try {
      reader.finish();
    } catch (error) {
      fault = error;
    }
    expect(fault).toBeInstanceOf(ConfigError);
    expect((fault as ConfigError).faults).toEqual([
      'URL is required',
      "PORT must be a whole number from 1 to 65535, not 'eighty'",
      "LEVEL must be one of info, warn, not 'loud'",
      "FLAG must be 1 or 0, not 'maybe'",
    ]);
  });

  it('reads a secret from the file that NAME_FILE names', () => {
    const folder = mkdtempSync(join(tmpdir(), 'boardwalk-config-'));
    folders.push(folder);
    writeFileSync(join(folder, 'key'), 'hidden\n');
    const reader = createEnvReader({ KEY_FILE: join(folder, 'key') });
    expect(reader.required('KEY')).toBe('hidden');
    expect(() => reader.finish()).not.toThrow();
  });

  it('names the variable when the file cannot be read', () => {
    const reader = createEnvReader({ KEY_FILE: '/nonexistent/key' });
    reader.required('KEY');
    expect(() => reader.finish()).toThrow(/KEY_FILE: ENOENT/);
  });
});
