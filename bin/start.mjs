/** `npm start`: installs what is missing and runs Boardwalk on this machine; see bin/stack.ts. */
import { runProject } from './bootstrap.mjs';

await runProject('bin/stack.ts', process.argv.slice(2));
