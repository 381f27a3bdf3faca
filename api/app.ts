/** The Express application: what every request passes, in order; then the contract's routes. */
import express, { type Express, type Response } from 'express';
import { recordAudit } from '../common/db/queries/audit.ts';
import type { Principal } from './auth/principal.ts';
import type { ApiDeps } from './deps.ts';
import { createHandlers } from './handlers.ts';
import { createAuthentication } from './http/authentication.ts';
import { docsPage } from './http/docs-page.ts';
import { mountOperations } from './http/mount.ts';
import type { OperationId } from './http/operation.ts';
import { problemHandler, unknownRoute } from './http/problem.ts';
import { loginLimits, passwordLimits } from './http/rate-limits.ts';
import { contextOf, requestContext } from './http/request-context.ts';
import { requestLog } from './http/request-log.ts';
import { securityHeaders } from './http/security-headers.ts';
import { createShortMemory, rememberCallers } from './http/short-memory.ts';
import { createRequestValidator } from './http/validator.ts';
import { loadOpenapiDocument } from './openapi-document.ts';

export async function createApp(deps: ApiDeps): Promise<Express> {
  const document = loadOpenapiDocument();
  const app = express();
  const memory = createShortMemory();
  app.disable('x-powered-by');
  // Entity tags are versions and set by handlers; hashing every answer would cost and mean nothing.
  app.set('etag', false);
  app.set('trust proxy', deps.config.trustedProxies);
  app.use(requestContext(deps.logger));
  app.use(requestLog(deps.metrics));
  app.use(securityHeaders(deps.config.publicUrl?.startsWith('https:') === true));
  app.use(docsPage());
  app.use((_request, response, next) => {
    response.setHeader('Cache-Control', 'no-store');
    next();
  });
  app.use(
    await mountOperations({
      document,
      validator: createRequestValidator(document),
      handlers: createHandlers(deps, memory),
      guards: { login: loginLimits(), updateMe: passwordLimits() },
      authenticate: rememberCallers(memory, createAuthentication(deps.database).authenticate),
      onForbidden: (operationId, principal, response) =>
        auditForbidden(deps, operationId, principal, response),
    }),
  );
  app.use(unknownRoute());
  app.use(problemHandler());
  return app;
}

async function auditForbidden(
  deps: ApiDeps,
  operationId: OperationId,
  principal: Principal,
  response: Response,
): Promise<void> {
  const { remoteAddress } = contextOf(response);
  await deps.database.read((manager) =>
    recordAudit(manager, {
      actorKind: principal.kind,
      actor: principal.kind === 'key' ? principal.id : principal.name,
      action: operationId,
      remoteAddress,
      result: 'forbidden',
    }),
  );
}
