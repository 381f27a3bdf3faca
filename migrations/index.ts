/** All migrations, oldest first. A new one is added at the end; a landed one is never changed. */
import { FirstSet20261122000000 } from './20261122000000-first-set.ts';
import { Operations20261125000000 } from './20261125000000-operations.ts';
import { Modules20261128010000 } from './20261128010000-modules.ts';
import { Alarms20261128020000 } from './20261128020000-alarms.ts';
import { ReadingsOutbox20261128030000 } from './20261128030000-readings-outbox.ts';
import { Sinks20261128040000 } from './20261128040000-sinks.ts';
import { BoardBacklogs20261128050000 } from './20261128050000-board-backlogs.ts';
import { Authors20261128080000 } from './20261128080000-authors.ts';
import { AlarmsBySeverity20261128090000 } from './20261128090000-alarms-by-severity.ts';

export const migrations = [
  FirstSet20261122000000,
  Operations20261125000000,
  Modules20261128010000,
  Alarms20261128020000,
  ReadingsOutbox20261128030000,
  Sinks20261128040000,
  BoardBacklogs20261128050000,
  Authors20261128080000,
  AlarmsBySeverity20261128090000,
];
