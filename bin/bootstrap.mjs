/**
 * What happens before there are node modules: plain JavaScript without imports from them, for the
 * Node that the machine has. It installs the modules, one of which is the Node that runs the rest.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const neededMajor = 24;

/**
 * Runs a TypeScript file of the project and ends this process as it ends.
 * @param {string} script path from the project's root
 * @param {string[]} args
 */
export async function runProject(script, args) {
  process.chdir(root);
  checkPlatform();
  stopWithNpm();
  await installModules();
  // The channel tells the script when this process is gone, even when it is killed.
  const code = await runChild(
    findNode(),
    [join(root, script), ...args],
    ['inherit', 'inherit', 'inherit', 'ipc'],
  );
  process.exit(code);
}

/** npm passes on SIGINT and SIGTERM only; whatever else ends it must end what it runs too. */
function stopWithNpm() {
  if (process.env.npm_lifecycle_event === undefined) return;
  const npm = process.ppid;
  setInterval(() => process.ppid !== npm && process.kill(process.pid, 'SIGTERM'), 500).unref();
}

/**
 * Runs a program to its end; it decides what a signal means. Gives back its exit code.
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').StdioOptions} stdio
 * @returns {Promise<number>}
 */
function runChild(command, args, stdio) {
  const child = spawn(command, args, { stdio });
  const forward = (/** @type {NodeJS.Signals} */ signal) => child.kill(signal);
  const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve) => {
    child.on('error', (error) => fail(`${command} can't be started: ${error.message}`));
    child.on('exit', (code, signal) => {
      for (const each of signals) process.off(each, forward);
      // As a shell counts them.
      resolve(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 0));
    });
  });
}

/** @returns {never} */
function fail(/** @type {string} */ sentence) {
  console.error(sentence);
  process.exit(1);
}

function checkPlatform() {
  if (process.platform !== 'linux') fail(`Boardwalk's start-up needs Linux; this is ${process.platform}.`);
  if (!['x64', 'arm64'].includes(process.arch))
    fail(`Boardwalk's start-up needs an x64 or arm64 machine; this is ${process.arch}.`);
  const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
  if (header.glibcVersionRuntime === undefined)
    fail("Boardwalk's start-up needs a Linux with glibc, like Debian 12; this one has another C library.");
}

async function installModules() {
  if (modulesMatchLock()) return;
  if (spawnSync('npm', ['--version'], { stdio: 'ignore' }).error)
    fail('There is no npm here: install Node.js with npm (20 or later).');
  console.log('Installing the node modules (about 15 s) …');
  const startedAt = performance.now();
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const code = await runChild('npm', args, ['ignore', 'ignore', 'inherit']);
  if (code > 128) process.exit(code);
  if (code !== 0) fail('npm could not install the node modules; its message is above.');
  console.log(`Node modules are installed (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
}

/** Whether every package of the lockfile is there in its version. Times of files say nothing: a clone is always new. */
function modulesMatchLock() {
  const wanted = readPackages('package-lock.json');
  const installed = readPackages('node_modules/.package-lock.json');
  return Object.entries(wanted).every(
    ([path, { version, optional, link }]) =>
      !path.startsWith('node_modules/') || optional || link || installed[path]?.version === version,
  );
}

/** @returns {Record<string, { version?: string, optional?: boolean, link?: boolean }>} */
function readPackages(/** @type {string} */ lockfile) {
  const path = join(root, lockfile);
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : {};
}

function findNode() {
  const installed = join(root, 'node_modules/.bin/node');
  if (existsSync(installed)) return installed;
  if (Number(process.versions.node.split('.')[0]) >= neededMajor) return process.execPath;
  return fail(
    `Node ${neededMajor} is missing among the node modules: run npm ci without omitting optional packages.`,
  );
}
