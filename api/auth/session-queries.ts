import type { EntityManager } from 'typeorm';
import { hashToken, randomToken } from '../../common/runtime/secrets.ts';
import { sessionTokenPrefix } from './credentials-queries.ts';

/** A working day and some; there is no renewal, so a stolen token ends too. */
export const sessionHours = 12;

export async function startUserSession(
  manager: EntityManager,
  userId: string,
  remoteAddress: string,
): Promise<{ token: string; expiresAt: Date }> {
  const token = sessionTokenPrefix + randomToken();
  const now = new Date();
  const expiresAt = new Date(now.getTime() + sessionHours * 3_600_000);
  await manager.query(
    'INSERT INTO user_sessions (token_hash, user_id, created_at, expires_at, remote_address) VALUES (?, ?, ?, ?, ?)',
    [hashToken(token), userId, now, expiresAt, remoteAddress.slice(0, 45)],
  );
  return { token, expiresAt };
}

export async function endUserSession(manager: EntityManager, tokenHash: string): Promise<void> {
  await manager.query('DELETE FROM user_sessions WHERE token_hash = ?', [tokenHash]);
}
