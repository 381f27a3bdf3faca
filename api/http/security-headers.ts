/** What browsers are told to forbid. Answers of the API are data; only the reference page may run its own scripts. */
import { type RequestHandler, Router } from 'express';
import helmet from 'helmet';

const nothing = {
  defaultSrc: ["'none'"],
  baseUri: ["'none'"],
  formAction: ["'none'"],
  frameAncestors: ["'none'"],
};

const page = {
  ...nothing,
  scriptSrc: ["'self'"],
  // Swagger UI sets style attributes.
  styleSrc: ["'self'", "'unsafe-inline'"],
  imgSrc: ["'self'", 'data:'],
  connectSrc: ["'self'"],
};

/** @param https whether clients reach the API by https: only then they are told to insist on it. */
export function securityHeaders(https: boolean): RequestHandler {
  const build = (directives: Record<string, string[]>) =>
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives },
      strictTransportSecurity: https,
      xFrameOptions: { action: 'deny' },
    });
  const router = Router();
  router.use('/docs', build(page));
  const forData = build(nothing);
  router.use((request, response, next) => {
    if (request.path === '/docs' || request.path.startsWith('/docs/')) next();
    else forData(request, response, next);
  });
  return router;
}
