import type { Response } from 'express';
import { recordAudit } from '../../common/db/queries/audit.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { actorOf, auditChange } from '../audit/audit.ts';
import type { ApiDeps } from '../deps.ts';
import { requireSameOrigin, sessionCookie } from '../http/authentication.ts';
import type { HandlersOf } from '../http/operation.ts';
import { endUserSessions, findLogin, getUser, toUser, updateUserRow } from '../users/user-queries.ts';
import { createLogin } from './login.ts';
import { toMe } from './me.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { endUserSession, sessionHours, startUserSession } from './session-queries.ts';

type AuthOperations = 'login' | 'logout' | 'getMe' | 'updateMe';

export function createAuthHandlers({ database, config }: ApiDeps): HandlersOf<AuthOperations> {
  const login = createLogin(database);
  const secure = config.publicUrl?.startsWith('https:') === true;
  const cookie = { httpOnly: true, sameSite: 'strict', path: '/', secure } as const;

  return {
    async login({ body, context, http }) {
      // Else another site could sign its visitors in as somebody else.
      if (body.cookie) requireSameOriginIfBrowser(http.request);
      const { remoteAddress } = context;
      const user = await login.authenticate(http.request).catch(async (error: unknown) => {
        if (error instanceof AppError && error.code === 'invalid-credentials') {
          await database.read((manager) =>
            recordAudit(manager, {
              actorKind: 'anonymous',
              actor: body.username,
              action: 'login',
              remoteAddress,
              result: error.code,
            }),
          );
        }
        throw error;
      });
      const session = await database.transaction(async (manager) => {
        const started = await startUserSession(manager, user.id, remoteAddress);
        await recordAudit(manager, {
          actorKind: 'user',
          actor: user.username,
          action: 'login',
          remoteAddress,
          result: 'ok',
        });
        return started;
      });
      const { token, expiresAt } = session;
      if (body.cookie)
        http.response.cookie(sessionCookie, token, { ...cookie, maxAge: sessionHours * 3_600_000 });
      return {
        status: 200,
        body: {
          ...(!body.cookie && { token }),
          expiresAt: expiresAt.toISOString(),
          user: toUser(user),
        },
      };
    },

    async logout(request) {
      const { principal, http } = request;
      await database.transaction(async (manager) => {
        if (principal.sessionHash !== null) await endUserSession(manager, principal.sessionHash);
        await recordAudit(manager, { ...actorOf(request), action: 'logout', result: 'ok' });
      });
      clearSessionCookie(http.response, cookie);
      return { status: 204 };
    },

    getMe: async ({ principal }) => ({ status: 200, body: toMe(principal) }),

    async updateMe(request) {
      const { principal, body } = request;
      if (body.password !== undefined) await requireCurrentPassword(request);
      const passwordHash = body.password === undefined ? undefined : await hashPassword(body.password);
      const user = await database.transaction(async (manager) => {
        await updateUserRow(manager, principal.id, {
          ...(body.displayName !== undefined && { display_name: body.displayName }),
          ...(passwordHash !== undefined && { password_hash: passwordHash }),
        });
        if (passwordHash !== undefined) await endUserSessions(manager, principal.id, principal.sessionHash);
        await auditChange(manager, request, {
          targetKind: 'user',
          target: principal.name,
          detail: { fields: Object.keys(body).filter((name) => name !== 'currentPassword') },
        });
        return toUser(await getUser(manager, principal.id));
      });
      return { status: 200, body: user };
    },
  };

  async function requireCurrentPassword(request: {
    principal: { id: string };
    body: { currentPassword?: string };
  }): Promise<void> {
    const user = await database.read((manager) => findLogin(manager, { id: request.principal.id }));
    if (await verifyPassword(request.body.currentPassword ?? '', user?.passwordHash)) return;
    throw new AppError('invalid-credentials', 'the current password is wrong', {
      details: { errors: [{ pointer: '/currentPassword', detail: 'is wrong' }] },
    });
  }
}

/** Programs send neither header; browsers send at least one of them with every POST. */
function requireSameOriginIfBrowser(request: Parameters<typeof requireSameOrigin>[0]): void {
  if (request.get('sec-fetch-site') !== undefined || request.get('origin') !== undefined)
    requireSameOrigin(request);
}

function clearSessionCookie(response: Response, options: object): void {
  response.clearCookie(sessionCookie, options);
}
