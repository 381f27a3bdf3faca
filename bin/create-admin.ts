/**
 * `node bin/create-admin.ts --username admin`: makes a user of the installation's role `admin`, or
 * gives an existing one a new password. The password comes on standard input, because arguments
 * show in process lists.
 */
import { randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { hashPassword } from '../api/auth/passwords.ts';
import { createDatabase } from '../common/db/database.ts';
import { recordAudit } from '../common/db/queries/audit.ts';
import { messageOf } from '../common/runtime/app-error.ts';
import { createEnvReader } from '../common/runtime/config.ts';
import { createLogger } from '../common/runtime/logger.ts';

/** sysexits.h: used wrongly; configured wrongly. */
const exitUsage = 64;
const exitConfig = 78;
const minPasswordLength = 10;

function readArguments(): string | undefined {
  try {
    const { values } = parseArgs({ options: { username: { type: 'string' } } });
    return values.username;
  } catch (error) {
    console.error(messageOf(error));
    return undefined;
  }
}

async function createAdmin(url: string, username: string, password: string): Promise<void> {
  const database = createDatabase({ url, logger: createLogger('create-admin', 'warn'), poolSize: 1 });
  const passwordHash = await hashPassword(password);
  const now = new Date();
  try {
    await database.transaction(async (manager) => {
      await manager.query(
        `INSERT INTO users (id, username, password_hash, is_admin, created_at, updated_at) VALUES (?, ?, ?, 1, ?, ?)
         ON DUPLICATE KEY UPDATE password_hash = VALUES(password_hash), is_admin = 1, disabled = 0,
           version = version + 1, updated_at = VALUES(updated_at)`,
        [randomUUID(), username, passwordHash, now, now],
      );
      await manager.query(
        'DELETE FROM user_sessions WHERE user_id IN (SELECT id FROM users WHERE username = ?)',
        [username],
      );
      await recordAudit(manager, {
        actorKind: 'process',
        actor: 'create-admin',
        action: 'createAdmin',
        targetKind: 'user',
        target: username,
        result: 'ok',
      });
    });
  } finally {
    await database.close();
  }
}

const username = readArguments();
const reader = createEnvReader(process.env);
const url = reader.required('DATABASE_URL');
if (username === undefined || !/^[^\p{Cc}\p{Z}]([^\p{Cc}]{0,98}[^\p{Cc}\p{Z}])?$/u.test(username)) {
  console.error('usage: create-admin.ts --username NAME < file-with-the-password');
  process.exitCode = exitUsage;
} else if (url === '') {
  console.error('DATABASE_URL is required');
  process.exitCode = exitConfig;
} else {
  const password = (await text(process.stdin)).replace(/\r?\n$/, '');
  if (password.length < minPasswordLength || password.length > 200) {
    console.error(`The password on standard input must have ${minPasswordLength} to 200 characters.`);
    process.exitCode = exitUsage;
  } else {
    await createAdmin(url, username, password);
    console.log(`${username} is an admin now.`);
  }
}
