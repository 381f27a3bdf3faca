/** Signing in by user name and password (passport-local). Every refusal looks and lasts alike. */
import type { Request } from 'express';
import passport from 'passport';
import { Strategy as LocalStrategy } from 'passport-local';
import type { Database } from '../../common/db/database.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { findLogin, type LoginRow } from '../users/user-queries.ts';
import { verifyPassword } from './passwords.ts';

export interface Login {
  /** The user of the request's body; throws AppError `invalid-credentials`. */
  authenticate(request: Request): Promise<LoginRow>;
}

export function createLogin(database: Database): Login {
  const authenticator = new passport.Passport();
  authenticator.use(
    new LocalStrategy((username, password, done) => {
      verifyLogin(database, username, password).then(
        (user) => done(null, user ?? false),
        (error: unknown) => done(error),
      );
    }),
  );
  return {
    authenticate: (request) =>
      new Promise((resolve, reject) => {
        const done = (error: unknown, user?: LoginRow | false) => {
          if (error) reject(error);
          else if (user) resolve(user);
          else reject(new AppError('invalid-credentials', 'user name or password is wrong'));
        };
        authenticator.authenticate('local', { session: false }, done)(request, request.res, reject);
      }),
  };
}

async function verifyLogin(
  database: Database,
  username: string,
  password: string,
): Promise<LoginRow | undefined> {
  const found = await database.read((manager) => findLogin(manager, { username }));
  // The database also takes `ádmin` or an invisible character for the same name; then every spelling
  // would have tries of its own (rate-limits.ts).
  const user = found && sameName(found.username, username) ? found : undefined;
  const matches = await verifyPassword(password, user?.passwordHash);
  return matches && user?.disabled === 0 ? user : undefined;
}

function sameName(left: string, right: string): boolean {
  return left.normalize('NFC').toLowerCase() === right.normalize('NFC').toLowerCase();
}
