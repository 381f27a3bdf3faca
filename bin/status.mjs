/** `npm run status`: what runs, by real round trips; see bin/status.ts. */
import { runProject } from './bootstrap.mjs';

await runProject('bin/status.ts', process.argv.slice(2));
