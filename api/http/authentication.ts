/**
 * Who sends a request. A token comes as `Authorization: Bearer …` (passport-http-bearer) or, from
 * browsers, in a cookie. A cookie is sent by the browser on its own, so a changing request that
 * relies on it must prove that a page of ours made it.
 */
import type { Request } from 'express';
import passport from 'passport';
import { Strategy as BearerStrategy, type IVerifyOptions } from 'passport-http-bearer';
import type { Database } from '../../common/db/database.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { findPrincipal } from '../auth/credentials-queries.ts';
import { anonymous, type Principal } from '../auth/principal.ts';

export const sessionCookie = 'boardwalk_session';

export interface Authentication {
  authenticate(request: Request): Promise<Principal>;
}

export function createAuthentication(database: Database): Authentication {
  const authenticator = new passport.Passport();
  const verify = (token: string) => database.read((manager) => findPrincipal(manager, token));
  authenticator.use(
    new BearerStrategy((token, done) => {
      verify(token).then(
        (principal) => done(null, principal ?? false),
        (error: unknown) => done(error),
      );
    }),
  );

  function byBearer(request: Request): Promise<Principal> {
    return new Promise((resolve, reject) => {
      const done = (error: unknown, principal?: Principal | false, _info?: string | IVerifyOptions) => {
        if (error) reject(error);
        else if (principal) resolve(principal);
        else reject(refused());
      };
      authenticator.authenticate('bearer', { session: false }, done)(request, request.res, reject);
    });
  }

  async function byCookie(request: Request, token: string): Promise<Principal> {
    const principal = token.startsWith('bws_') ? await verify(token) : undefined;
    if (!principal) throw refused();
    if (!isSafe(request.method)) requireSameOrigin(request);
    return { ...principal, byCookie: true };
  }

  return {
    async authenticate(request) {
      // The strategy would take a token from there, and URLs end up in logs.
      if (request.query.access_token !== undefined)
        throw new AppError(
          'invalid-request',
          'a token belongs into the Authorization header, not into the URL',
        );
      if (request.headers.authorization !== undefined) return byBearer(request);
      const token = cookieValue(request.headers.cookie, sessionCookie);
      return token === undefined ? anonymous : byCookie(request, token);
    },
  };
}

function refused(): AppError {
  return new AppError('unauthenticated', 'the token is not valid, or not any more');
}

function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Throws AppError `cross-site-request` unless the browser says that a page of this origin sent the request. */
export function requireSameOrigin(request: Request): void {
  const site = request.get('sec-fetch-site');
  if (site !== undefined ? site === 'same-origin' : isOwnOrigin(request)) return;
  throw new AppError('cross-site-request', 'a session cookie counts for pages of this origin only');
}

function isOwnOrigin(request: Request): boolean {
  const origin = request.get('origin');
  if (origin === undefined || !URL.canParse(origin)) return false;
  return new URL(origin).host === request.get('host');
}

export function cookieValue(header: string | undefined, name: string): string | undefined {
  for (const part of (header ?? '').split(';')) {
    const [key, ...rest] = part.trim().split('=');
    if (key === name) return rest.join('=');
  }
  return undefined;
}
