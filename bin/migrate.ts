/** `node bin/migrate.ts [up|down|status]`: the schema of DATABASE_URL. */
import { createDatabase } from '../common/db/database.ts';
import { appliedMigrations, migrate } from '../common/db/migrate.ts';
import { createEnvReader } from '../common/runtime/config.ts';
import { createLogger } from '../common/runtime/logger.ts';
import { migrations } from '../migrations/index.ts';

const step = process.argv[2] ?? 'up';
const reader = createEnvReader(process.env);
const url = reader.required('DATABASE_URL');
reader.finish();
const database = createDatabase({
  url,
  logger: createLogger('migrate', 'warn'),
  poolSize: 2,
  queryTimeoutMs: 0,
});
try {
  if (step === 'up' || step === 'down') {
    const names = await migrate(database, step);
    console.log(names.length === 0 ? 'Nothing to do.' : names.map((name) => `${step}: ${name}`).join('\n'));
  } else if (step === 'status') {
    const applied = await database.read(appliedMigrations);
    for (const { name } of migrations.map((each) => new each()))
      console.log(`${applied.includes(name) ? 'applied' : 'pending'}: ${name}`);
  } else {
    console.error('usage: migrate.ts [up|down|status]');
    process.exitCode = 64;
  }
} finally {
  await database.close();
}
