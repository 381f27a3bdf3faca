import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';

const logger = join(import.meta.dirname, '../../../common/runtime/logger.ts');

async function run(script: string, stdout: 'pipe' | number) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', stdout, 'pipe'],
    timeout: 8000,
  });
  const [out, err] = await Promise.all([
    child.stdout ? text(child.stdout) : '',
    child.stderr ? text(child.stderr) : '',
    once(child, 'exit'),
  ]);
  return { out, err, code: child.exitCode };
}

it('neither ends nor holds up a process whose log cannot be written', async () => {
  const full = openSync('/dev/full', 'w');
  try {
    const { code, err } = await run(
      `import { createLogger } from ${JSON.stringify(logger)};
       import { setTimeout as sleep } from 'node:timers/promises';
       const logger = createLogger('test', 'info');
       for (let index = 0; index < 5; index += 1) { logger.info({ index }, 'x'.repeat(100_000)); await sleep(20); }
       console.error('went on');
       process.exit(3);`,
      full,
    );
    expect([code, err.trim()]).toEqual([3, 'went on']);
  } finally {
    closeSync(full);
  }
}, 10_000);

it('has written every line when the process exits, secrets blanked', async () => {
  const { out } = await run(
    `import { createLogger } from ${JSON.stringify(logger)};
     const logger = createLogger('test', 'info');
     for (let index = 0; index < 1000; index += 1) logger.info({ index, token: 'bw_x', body: { password: 'y' } }, 'line');
     process.exit(0);`,
    'pipe',
  );
  const lines = out.trim().split('\n');
  expect(lines).toHaveLength(1000);
  expect(JSON.parse(lines[999] as string)).toMatchObject({
    index: 999,
    token: '[redacted]',
    body: { password: '[redacted]' },
  });
});
