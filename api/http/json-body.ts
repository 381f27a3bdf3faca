/**
 * Reads JSON bodies and refuses what would trip code behind it: nesting that no column takes, member
 * names that reach prototypes, text that is not Unicode, numbers beyond doubles.
 */
import { isUtf8 } from 'node:buffer';
import express, { type RequestHandler } from 'express';
import { AppError } from '../../common/runtime/app-error.ts';

export const bodyLimitBytes = 1_048_576;
/** MariaDB stores JSON up to 32 levels; some are left for our own wrapping. */
const maxDepth = 24;

/** The parser would also take other encodings of Unicode, UTF-7 among them. */
const mediaType = /^application\/json\s*(?:;\s*charset="?utf-8"?\s*)?$/i;

/** Middlewares that leave the checked body in `request.body`; undefined when there was none. */
export function jsonBody(): RequestHandler[] {
  const parse = express.json({
    limit: bodyLimitBytes,
    strict: false,
    inflate: false,
    // The decoder would put a replacement character in the place of broken bytes.
    verify: (_request, _response, bytes) => {
      if (!isUtf8(bytes)) throw fault('', 'must be UTF-8');
    },
  });
  return [
    (request, _response, next) => {
      const hasBody =
        request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length']) > 0;
      if (hasBody && !mediaType.test(request.headers['content-type'] ?? ''))
        throw new AppError('unsupported-media-type', 'the body must be application/json in UTF-8');
      next();
    },
    parse,
    (request, _response, next) => {
      checkJson(request.body);
      next();
    },
  ];
}

/** Throws AppError `invalid-request` with the pointer of the first fault. Iterative: depth cannot exhaust the stack. */
export function checkJson(body: unknown): void {
  const queue: { value: unknown; pointer: string; depth: number }[] = [
    { value: body, pointer: '', depth: 0 },
  ];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const { value, pointer, depth } = next;
    if (typeof value === 'string') {
      if (!value.isWellFormed()) throw fault(pointer, 'must be well-formed Unicode');
    } else if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw fault(pointer, 'must be a number that fits a double');
    } else if (typeof value === 'object' && value !== null) {
      if (depth >= maxDepth) throw fault(pointer, `must not be nested deeper than ${maxDepth} levels`);
      for (const name of Object.keys(value)) {
        const member = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
        if (name === '__proto__') throw fault(member, 'is not an allowed name');
        if (!name.isWellFormed()) throw fault(pointer, 'has a name that is not well-formed Unicode');
        queue.push({ value: (value as Record<string, unknown>)[name], pointer: member, depth: depth + 1 });
      }
    }
  }
}

function fault(pointer: string, detail: string): AppError {
  return new AppError('invalid-request', 'the body has a value that cannot be used', {
    details: { errors: [{ pointer, detail }] },
  });
}
