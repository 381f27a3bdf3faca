/** `npm run demo:slow-control`: the whole demonstrator on this machine; see bin/demo-slow-control.ts. */
import { runProject } from './bootstrap.mjs';

await runProject('bin/demo-slow-control.ts', process.argv.slice(2));
