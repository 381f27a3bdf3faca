/**
 * `npm test`, once the node modules are there: installs the private parts, runs every test project,
 * and ends with a line that a machine can read: `N passed, N failed`. A test file that can't be
 * loaded or that leaves something behind counts as one failure.
 */

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '../common/runtime/app-error.ts';
import { installCurlUnlessThere } from './setup/curl.ts';
import { partNames } from './setup/parts.ts';
import { installTools } from './setup/tools.ts';
import { repositoryRoot } from './stack/settings.ts';

interface Report {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { name: string; status: string; assertionResults: { status: string }[] }[];
}

const reports = await mkdtemp(join(tmpdir(), 'boardwalk-tests-'));
let passed = 0;
let failed = 0;
try {
  const toolsDir = process.env.BOARDWALK_TOOLS ?? join(repositoryRoot, '.boardwalk/tools');
  const say = (line: string) => console.log(line);
  await installTools({ toolsDir, mariadb: true, parts: partNames, say });
  // The README's commands and the shell example are tested as they stand, and they use curl.
  const curlDir = await installCurlUnlessThere(toolsDir, say);
  if (curlDir !== undefined) process.env.PATH = `${process.env.PATH}:${curlDir}`;
  const reportFile = join(reports, 'report.json');
  const exitCode = await runVitest(reportFile);
  const report = JSON.parse(await readFile(reportFile, 'utf8')) as Report;
  passed = report.numPassedTests;
  failed = report.numFailedTests + brokenFiles(report);
  // Vitest also fails for what belongs to no test: an unhandled error, a leak at the end of the run.
  if (exitCode !== 0 && failed === 0) failed = 1;
  if (passed === 0) failed = Math.max(failed, 1);
} catch (error) {
  console.error(messageOf(error));
  failed = Math.max(failed, 1);
} finally {
  await rm(reports, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function brokenFiles(report: Report): number {
  return report.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && assertionResults.every((test) => test.status !== 'failed'),
  ).length;
}

function runVitest(reportFile: string): Promise<number> {
  const vitest = join(repositoryRoot, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  const child = spawn(process.execPath, [...args, ...process.argv.slice(2)], {
    stdio: ['ignore', 'inherit', 'inherit'],
    cwd: repositoryRoot,
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  process.on('disconnect', () => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
