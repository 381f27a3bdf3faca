/** All migrations, oldest first. A new one is added at the end; a landed one is never changed. */
import { FirstSet20261122000000 } from './20261122000000-first-set.ts';

export const migrations = [FirstSet20261122000000];
