/** A disk that takes a part of a file only, played by the kernel's limit on the size of files. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../../board-agent/state/atomic-file.ts';

const agent = join(import.meta.dirname, '../../../board-agent');
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-atomic-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs the statements where no file may grow beyond so many KiB; answers with what was thrown. */
function runWithRoom(kibibytes: number, statements: string): string {
  const script = `try { ${statements} } catch (error) { console.log(error.code ?? error.message) }`;
  const ran = spawnSync(
    'bash',
    ['-c', `ulimit -f ${kibibytes}; exec "$0" --input-type=module -e "$1"`, process.execPath, script],
    { encoding: 'utf8' },
  );
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  return ran.stdout.trim();
}

describe('a file that is replaced', () => {
  it('is the new one, with its mode and nothing beside it', () => {
    const path = join(dir, 'identity.json');
    writeFileSync(path, 'old');
    writeFileAtomic(path, 'new', { mode: 0o600, durable: true });
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir)).toEqual(['identity.json']);
  });

  it('is the old one when there is room for a part of the new one only', () => {
    const path = join(dir, 'identity.json');
    writeFileSync(path, 'old');
    const thrown = runWithRoom(
      1,
      `const { writeFileAtomic } = await import(${JSON.stringify(join(agent, 'state/atomic-file.ts'))});
       writeFileAtomic(${JSON.stringify(path)}, 'x'.repeat(5000), { mode: 0o600, durable: true });`,
    );
    expect(thrown).toBe('EFBIG');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(dir)).toEqual(['identity.json']);
  });
});

describe('the position in a file that is followed', () => {
  it('is the old one when the new one cannot be written', () => {
    const path = join(dir, 'position.json');
    writeFileSync(path, JSON.stringify({ inode: 5, offset: 70, life: 'first' }));
    const thrown = runWithRoom(
      0,
      `const { openPosition } = await import(${JSON.stringify(join(agent, 'sources/line/position.ts'))});
       openPosition(${JSON.stringify(path)}).write({ inode: 5, offset: 90, life: 'first' });`,
    );
    expect(thrown).toBe('EFBIG');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ offset: 70 });
  });
});
