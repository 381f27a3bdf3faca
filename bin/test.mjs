/** `npm test`: installs what is missing and runs every test; see bin/run-tests.ts. */
import { runProject } from './bootstrap.mjs';

await runProject('bin/run-tests.ts', process.argv.slice(2));
