/**
 * The bytes of an artifact. They come from a board, and so does what it calls their type: a browser
 * is told to save them, and never to guess or to run them.
 */
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import type { ArtifactStore } from '../../common/artifacts/store.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { toProblem } from '../http/problem.ts';
import type { RequestContext } from '../http/request-context.ts';
import { hasTag, parseRange } from './range.ts';

export interface Download {
  name: string;
  mediaType: string;
  sha256: string;
  size: number;
}

/** What browsers show without running any of it. */
const harmless: ReadonlySet<string> = new Set([
  'application/gzip',
  'application/json',
  'application/zip',
  'image/jpeg',
  'image/png',
  'text/csv',
  'text/plain',
]);

export interface DownloadRequest {
  request: IncomingMessage;
  response: Response;
  context: RequestContext;
}

/** Writes the whole answer. Throws AppError `not-found` before anything is written when the bytes are gone. */
export async function sendArtifact(
  store: ArtifactStore,
  artifact: Download,
  { request, response, context }: DownloadRequest,
): Promise<void> {
  const { name, mediaType, sha256, size } = artifact;
  const tag = `"${sha256}"`;
  const { 'if-none-match': known, 'if-range': rangeOf, range: wanted } = request.headers;
  response.setHeader('ETag', tag);
  if (hasTag(known, tag)) {
    response.status(304).end();
    return;
  }
  const isSame = rangeOf === undefined || rangeOf === tag;
  const range = parseRange(isSame ? wanted : undefined, size);
  response.setHeader('Accept-Ranges', 'bytes');
  if (range === 'none') {
    refuseRange(response, size, context);
    return;
  }
  const part = range === 'all' ? undefined : range;
  const file = await store.openArtifact(sha256, part);
  if (!file) throw new AppError('not-found', 'the bytes of this artifact are gone');
  const type = harmless.has(mediaType.toLowerCase()) ? mediaType.toLowerCase() : 'application/octet-stream';
  response.status(part ? 206 : 200);
  response.setHeader('Content-Type', type.startsWith('text/') ? `${type}; charset=utf-8` : type);
  response.setHeader('Content-Length', part ? part.to - part.from + 1 : size);
  if (part) response.setHeader('Content-Range', `bytes ${part.from}-${part.to}/${size}`);
  response.setHeader('Content-Disposition', disposition(name));
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Content-Security-Policy', "sandbox; default-src 'none'");
  if (request.method === 'HEAD') {
    file.stream.destroy();
    response.end();
    return;
  }
  try {
    await pipeline(file.stream, response);
  } catch (error) {
    // The client went away, or the disk failed in the middle: a cut answer is shorter than it said.
    context.logger.info({ err: error, sha256 }, 'a download was cut off');
    response.destroy();
  }
}

function refuseRange(response: Response, size: number, context: RequestContext): void {
  const error = new AppError('invalid-request', `the range is beyond the ${size} bytes that there are`, {
    details: { errors: [{ parameter: 'header.range', detail: 'is beyond the end' }] },
  });
  response.locals.code = error.code;
  response
    .status(416)
    .setHeader('Content-Range', `bytes */${size}`)
    .type('application/problem+json')
    .send(JSON.stringify({ ...toProblem(error, context.requestId), status: 416 }));
}

/** RFC 6266, with the name as RFC 8187 has it: it may hold any character. */
function disposition(name: string): string {
  const encoded = encodeURIComponent(name.toWellFormed()).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename*=UTF-8''${encoded}`;
}
