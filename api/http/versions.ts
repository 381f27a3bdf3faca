/** Optimistic locking: a change says which version it is based on, in the body or as `If-Match`. */
import { AppError } from '../../common/runtime/app-error.ts';

interface VersionedRequest {
  body: { version?: number };
  header(name: string): string | undefined;
}

/**
 * The version that a change expects; undefined = it wants to change whatever is there. Throws AppError
 * `invalid-request` when body and header disagree.
 */
export function expectedVersion(request: VersionedRequest): number | undefined {
  const { version } = request.body;
  const tag = /^(?:W\/)?"(\d+)"$/.exec(request.header('if-match') ?? '')?.[1];
  const matched = tag === undefined ? undefined : Number(tag);
  if (version !== undefined && matched !== undefined && version !== matched) {
    throw new AppError('invalid-request', 'version and If-Match name different versions', {
      details: { errors: [{ pointer: '/version', detail: 'must be the version of If-Match' }] },
    });
  }
  return version ?? matched;
}

/** Throws AppError `stale-version` unless the current version is the expected one. */
export function requireVersion(expected: number | undefined, current: number): void {
  if (expected === undefined || expected === current) return;
  throw new AppError('stale-version', `it has been changed since: its version is ${current}`, {
    details: { version: current },
  });
}

export function versionTag(version: number): { ETag: string } {
  return { ETag: `"${version}"` };
}
