/** `npm run generate`: settings.schema.json for editors, from the schema that the agent checks with. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { settingsSchema } from './settings-schema.ts';

const path = join(import.meta.dirname, 'settings.schema.json');
writeFileSync(path, `${JSON.stringify(settingsSchema, undefined, 2)}\n`);
