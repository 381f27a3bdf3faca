/** Who did something to an operation, as its timeline tells it. */
import type { JsonObject } from '../../common/runtime/guards.ts';
import { creatorOf } from '../audit/audit.ts';
import type { Principal } from '../auth/principal.ts';
import type { RequestContext } from '../http/request-context.ts';

export function evidenceOf({
  principal,
  context,
}: {
  principal: Principal;
  context: RequestContext;
}): JsonObject {
  return { by: creatorOf(principal), requestId: context.requestId };
}
