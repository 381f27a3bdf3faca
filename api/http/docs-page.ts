/** `/docs`: the rendered contract, from files of this machine only. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Router } from 'express';

const ownFiles = { 'index.html': 'text/html; charset=utf-8', 'start.js': 'text/javascript; charset=utf-8' };
const libraryFiles = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'];

export function docsPage(): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const own = fileURLToPath(new URL('../docs', import.meta.url));
  const library = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  // Relative links in the page need the slash.
  router.get('/docs', (_request, response) => response.redirect(308, 'docs/'));
  router.get('/docs/', (_request, response) => response.sendFile(join(own, 'index.html')));
  for (const [name, type] of Object.entries(ownFiles)) {
    router.get(`/docs/${name}`, (_request, response) => response.type(type).sendFile(join(own, name)));
  }
  for (const name of libraryFiles)
    router.get(`/docs/${name}`, (_request, response) => response.sendFile(join(library, name)));
  return router;
}
