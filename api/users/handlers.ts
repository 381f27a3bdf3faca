/** Users of the installation: its admin's business. What users may do to themselves is in api/auth. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { AppError } from '../../common/runtime/app-error.ts';
import { auditChange } from '../audit/audit.ts';
import { hashPassword } from '../auth/passwords.ts';
import type { ApiDeps } from '../deps.ts';
import { createOnce } from '../http/idempotency.ts';
import { refuseDuplicate } from '../http/name-taken.ts';
import type { HandlersOf } from '../http/operation.ts';
import { pageRequest, toPage } from '../http/paging.ts';
import { expectedVersion, requireVersion, versionTag } from '../http/versions.ts';
import { endUserSessions, getUser, listUsers, lockAdmins, toUser, updateUserRow } from './user-queries.ts';

type UserOperations = 'listUsers' | 'createUser' | 'getUser' | 'updateUser' | 'deleteUser';

const order = 'username';

export function createUserHandlers({ database }: ApiDeps): HandlersOf<UserOperations> {
  return {
    async listUsers(request) {
      const page = pageRequest(request.query, order, ['text']);
      const rows = await database.read((manager) => listUsers(manager, page));
      return { status: 200, body: toPage(rows, page.limit, order, toUser, (row) => [row.username]) };
    },

    async createUser(request) {
      const { username, password, displayName, isAdmin } = request.body;
      const passwordHash = await hashPassword(password);
      return createOnce(database, request, async (manager) => {
        const id = randomUUID();
        const now = new Date();
        await refuseDuplicate('uq_users_username', '/username', () =>
          manager.query(
            `INSERT INTO users (id, username, display_name, password_hash, is_admin, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)`,
            [id, username, displayName ?? null, passwordHash, isAdmin ? 1 : 0, now, now],
          ),
        );
        await auditChange(manager, request, { targetKind: 'user', target: username });
        const user = toUser(await getUser(manager, id));
        return { status: 201, headers: { Location: `/v1/users/${id}` }, body: user };
      });
    },

    async getUser(request) {
      const user = toUser(await database.read((manager) => getUser(manager, request.path.user)));
      return { status: 200, headers: versionTag(user.version), body: user };
    },

    async updateUser(request) {
      const { username, password, displayName, isAdmin, disabled } = request.body;
      const expected = expectedVersion(request);
      const passwordHash = password === undefined ? undefined : await hashPassword(password);
      const user = await database.transaction(async (manager) => {
        const admins = isAdmin === false || disabled === true ? await lockAdmins(manager) : undefined;
        const before = await getUser(manager, request.path.user, { lock: true });
        requireVersion(expected, before.version);
        if (admins) keepAnAdmin(admins, before.id);
        const changes = {
          ...(username !== undefined && { username }),
          ...(displayName !== undefined && { display_name: displayName }),
          ...(passwordHash !== undefined && { password_hash: passwordHash }),
          ...(isAdmin !== undefined && { is_admin: isAdmin ? 1 : 0 }),
          ...(disabled !== undefined && { disabled: disabled ? 1 : 0 }),
        };
        await refuseDuplicate('uq_users_username', '/username', () =>
          updateUserRow(manager, before.id, changes),
        );
        if (passwordHash !== undefined || disabled === true)
          await endUserSessions(
            manager,
            before.id,
            before.id === request.principal.id ? request.principal.sessionHash : null,
          );
        const fields = Object.keys(request.body).filter((name) => name !== 'version');
        await auditChange(manager, request, {
          targetKind: 'user',
          target: before.username,
          detail: { fields },
        });
        return toUser(await getUser(manager, before.id));
      });
      return { status: 200, headers: versionTag(user.version), body: user };
    },

    async deleteUser(request) {
      await database.transaction(async (manager) => {
        const admins = await lockAdmins(manager);
        const user = await getUser(manager, request.path.user, { lock: true });
        keepAnAdmin(admins, user.id);
        await deleteUserRow(manager, user.id);
        await auditChange(manager, request, { targetKind: 'user', target: user.username });
      });
      return { status: 204 };
    },
  };
}

/** Sessions and memberships go with it, by their foreign keys. */
async function deleteUserRow(manager: EntityManager, id: string): Promise<void> {
  await manager.query('DELETE FROM users WHERE id = ?', [id]);
}

/** An installation without an admin could only be repaired at its console. */
function keepAnAdmin(admins: readonly string[], leavingId: string): void {
  if (admins.length === 1 && admins[0] === leavingId)
    throw new AppError('conflict', 'this is the last admin who can sign in');
}
