/** What a failed join means, in the words that the reconnect policy and the operator need. */
import type { ErrorCode } from '../../common/runtime/app-error.ts';
import { codeOfUri } from '../../common/wamp/errors.ts';

export interface Refusal {
  /**
   * unreachable: nobody answered at the address. timeout: no welcome in time. not-yet: the router
   * is there, the part behind it is not. refused: this identity or code is not let in.
   */
  kind: 'unreachable' | 'timeout' | 'not-yet' | 'refused';
  message: string;
  uri?: string;
  code?: ErrorCode;
}

/** Codes that waiting does not heal quickly: somebody has to act on the server. */
const final: readonly ErrorCode[] = [
  'board-revoked',
  'board-not-found',
  'not-found',
  'unauthenticated',
  'invalid-credentials',
  'forbidden',
  'not-authorized',
  'invalid-arguments',
  'enrolment-code-invalid',
  'enrolment-code-used',
  'enrolment-code-expired',
];

/** WAMP's own words for a wrong key, authid or realm. */
const finalUris = [
  'wamp.error.authentication_failed',
  'wamp.error.authentication_denied',
  'wamp.error.no_such_realm',
  'wamp.error.no_such_principal',
  'wamp.error.no_such_role',
];

/** Reads the reason of an ABORT. An unknown reason counts as "not yet": a router in trouble must not slow a good board. */
export function refusalOf(uri: string, message: string): Refusal {
  const code = codeOfUri(uri);
  // The authenticator is not registered yet, or went away: the code for a missing procedure.
  const kind =
    finalUris.includes(uri) || (code !== undefined && final.includes(code)) ? 'refused' : 'not-yet';
  return { kind, uri, message: message === '' ? uri : message, ...(code && { code }) };
}
