/** What boards say about operations. */
import { AppError } from '../../common/runtime/app-error.ts';
import type { AgentHandlers } from '../../common/wamp/typed-session.ts';

export function createOperationProcedures(): Pick<
  AgentHandlers,
  'operationResult' | 'operationProgress' | 'putArtifact'
> {
  const refuse = async () => {
    throw new AppError('unavailable', 'operations are not served yet');
  };
  return { operationResult: refuse, operationProgress: refuse, putArtifact: refuse };
}
