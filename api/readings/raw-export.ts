/**
 * All raw readings of a window as lines, however many: page by page, the next one only when the
 * client has taken the last. Pages and not one long statement, because a client that reads slowly
 * would hold that statement open: the server ends it after a minute, changes of partitions (and all
 * ingest behind them) wait for it, and it does not survive a change of the database server.
 */
import type { ServerResponse } from 'node:http';
import type { Database } from '../../common/db/database.ts';
import { AppError } from '../../common/runtime/app-error.ts';
import { type RawPoint, type RawPosition, readRawPage } from './raw-queries.ts';
import type { StreamRow } from './stream-queries.ts';
import type { Window } from './window.ts';

/**
 * More cost memory, fewer cost time. With these 2 million readings take 3 s, and the process grows by
 * 180 MB at the most, however many follow (measured).
 */
const pageRows = 2000;

export interface LineFormat {
  mediaType: string;
  header: string;
  line(stream: string, point: RawPoint): string;
}

export const ndjson: LineFormat = {
  mediaType: 'application/x-ndjson',
  header: '',
  line: (stream, [at, value]) => `${JSON.stringify({ stream, at, value })}\n`,
};

/** RFC 4180; `at` is epoch milliseconds as everywhere in points. */
export const csv: LineFormat = {
  mediaType: 'text/csv',
  header: 'stream,at,value\r\n',
  line: (stream, [at, value]) => `${stream},${at},${typeof value === 'string' ? quote(value) : value}\r\n`,
};

function quote(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

export interface RawExport {
  database: Database;
  response: ServerResponse;
  streams: readonly StreamRow[];
  window: Window;
  format: LineFormat;
  stopping: AbortSignal;
}

/** Throws when it cannot go on; what was sent by then is cut off, never ended as if it were whole. */
export async function exportRaw(options: RawExport): Promise<void> {
  const { database, response, window, format } = options;
  for (const stream of options.streams) {
    let after: RawPosition | undefined;
    do {
      if (options.stopping.aborted) throw new AppError('unavailable', 'this server is about to stop');
      const position = after;
      const page = await database.read((manager) => readRawPage(manager, stream, window, pageRows, position));
      if (response.destroyed) return;
      const text = page.points.map((point) => format.line(stream.name, point)).join('');
      await send(response, format, text);
      after = page.next;
    } while (after !== undefined && !response.destroyed);
    if (response.destroyed) return;
  }
  await send(response, format, '');
  response.end();
}

/** Waits until the client has room again, or is gone. */
async function send(response: ServerResponse, format: LineFormat, text: string): Promise<void> {
  if (!response.headersSent) {
    response.writeHead(200, { 'Content-Type': format.mediaType });
    if (format.header !== '') response.write(format.header);
  }
  if (text === '' || response.write(text)) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
    if (response.destroyed) done();
  });
}
