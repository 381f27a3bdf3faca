/**
 * Wrong logins are counted, right ones are not: ten for one user name from one address, and a
 * hundred from one address for whatever names, in a quarter of an hour. Counted in each process for
 * itself: with n processes behind a balancer an attacker has at most n times as many tries.
 */
import type { Request, RequestHandler, Response } from 'express';
import { ipKeyGenerator, type Options, rateLimit } from 'express-rate-limit';
import { AppError } from '../../common/runtime/app-error.ts';
import { hashToken } from '../../common/runtime/secrets.ts';
import type { Principal } from '../auth/principal.ts';

const windowMs = 15 * 60_000;
const wrongPerName = 10;
const wrongPerAddress = 100;

const common: Partial<Options> = {
  windowMs,
  skipSuccessfulRequests: true,
  requestWasSuccessful: (_request: Request, response: Response) => response.statusCode !== 401,
  standardHeaders: false,
  legacyHeaders: false,
  handler: (request, _response, next) => {
    const { resetTime } = (request as Request & { rateLimit: { resetTime?: Date } }).rateLimit;
    const retryAfterSeconds = Math.max(1, ((resetTime?.getTime() ?? 0) - Date.now()) / 1000);
    next(
      new AppError('too-many-requests', 'too many wrong passwords; try again later', {
        details: { retryAfterSeconds },
      }),
    );
  },
};

export function loginLimits(): RequestHandler[] {
  const address = (request: Request) => ipKeyGenerator(request.ip ?? '');
  return [
    rateLimit({ ...common, limit: wrongPerAddress, keyGenerator: address }),
    rateLimit({
      ...common,
      limit: wrongPerName,
      // Case does not tell user names apart; the hash keeps keys short, whatever was sent.
      keyGenerator: (request) =>
        hashToken(
          `${address(request)} ${(request.body as { username: string }).username.normalize('NFC').toLowerCase()}`,
        ),
    }),
  ];
}

/** For a change of the own password, which asks for the current one: a stolen session must not guess it. */
export function passwordLimits(): RequestHandler[] {
  return [
    rateLimit({
      ...common,
      limit: wrongPerName,
      skip: (request) => (request.body as { password?: string }).password === undefined,
      keyGenerator: (_request, response) => (response.locals.principal as Principal).id,
    }),
  ];
}
