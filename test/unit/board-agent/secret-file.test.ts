import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseSettings } from '../../../board-agent/settings.ts';
import { readCredentials } from '../../../board-agent/sources/mqtt/files.ts';
import type { MqttSourceSettings } from '../../../board-agent/sources/mqtt/settings.ts';
import { readSecretFile } from '../../../board-agent/state/secret-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'boardwalk-secrets-'));
afterAll(() => rmSync(dir, { recursive: true }));

function write(content: string, mode = 0o600): string {
  const path = join(dir, 'secret');
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

describe('a file that holds a secret', () => {
  it.each(['word', 'word\n', 'word\r\n'])('gives %j without the end of its line', (content) => {
    expect(readSecretFile(write(content)).toString()).toBe('word');
  });

  it('is not taken when others may read it, and the words hold nothing of it', () => {
    const path = write('word', 0o640);
    expect(() => readSecretFile(path)).toThrow(/^others may read it \(mode 640, wanted 600\)$/);
  });

  it('may be the key of a certificate for a broker', () => {
    const settings = (keyFile: string) =>
      parseSettings({
        sources: [
          {
            kind: 'mqtt',
            urls: ['mqtts://broker'],
            rules: [{ match: 'r', decoder: 'json' }],
            certFile: keyFile,
            keyFile,
          },
        ],
      }).sources[0] as MqttSourceSettings;
    expect(readCredentials(settings(write('key\n'))).key?.toString()).toBe('key');
    expect(() => readCredentials(settings(write('key', 0o644)))).toThrow(/^keyFile .*others may read it/);
  });
});
