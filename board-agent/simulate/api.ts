/** The few API calls that a load needs, over HTTP like anybody's. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError, messageOf } from '../../common/runtime/app-error.ts';
import { asArray, asObject, asString, type JsonObject, optional } from '../../common/runtime/guards.ts';

export interface Api {
  /** The answer's JSON; rejects with AppError for any status from 400. */
  request(method: string, path: string, body?: unknown): Promise<JsonObject>;
  /** All items of a list, page by page. */
  list(path: string): Promise<JsonObject[]>;
}

const timeoutMs = 30_000;
const attempts = 5;

export function createApi(apiUrl: string, key: string): Api {
  const base = apiUrl.replace(/\/+$/, '');

  async function attempt(method: string, path: string, body?: unknown): Promise<Response> {
    try {
      return await fetch(`${base}${path}`, {
        method,
        headers: {
          Authorization: `Bearer ${key}`,
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeoutMs),
      });
    } catch (error) {
      throw new AppError('unavailable', `${base} does not answer: ${messageOf(error)}`, { cause: error });
    }
  }

  async function request(method: string, path: string, body?: unknown): Promise<JsonObject> {
    let response = await attempt(method, path, body);
    for (let again = 1; response.status === 429 && again < attempts; again += 1) {
      await response.body?.cancel();
      await sleep(1000 * Math.min(Number(response.headers.get('Retry-After') ?? '1') || 1, 60));
      response = await attempt(method, path, body);
    }
    const text = await response.text();
    if (!response.ok)
      throw new AppError(
        response.status === 404 ? 'not-found' : response.status === 409 ? 'conflict' : 'invalid-request',
        `${method} ${path}: ${response.status} ${text.slice(0, 300)}`,
      );
    return text === '' ? {} : asObject(JSON.parse(text), `the answer of ${method} ${path}`);
  }

  return {
    request,
    async list(path) {
      const items: JsonObject[] = [];
      let after: string | undefined;
      do {
        const query = `limit=200${after === undefined ? '' : `&after=${encodeURIComponent(after)}`}`;
        const page = await request('GET', `${path}?${query}`);
        items.push(...asArray(page.items, 'items', { max: 1000 }).map((each) => asObject(each, 'item')));
        after = optional(page.next, (value) => asString(value, 'next', { max: 2000 }));
      } while (after !== undefined);
      return items;
    },
  };
}

export interface StreamCount {
  /** Stored readings. */
  count: number;
  lastValue: unknown;
}

/** Streams of a board by name. */
export async function listStreams(api: Api, board: string): Promise<Map<string, StreamCount>> {
  const streams = await api.list(`/v1/boards/${encodeURIComponent(board)}/streams`);
  return new Map(
    streams.map(({ name, count, lastValue }) => [String(name), { count: Number(count), lastValue }]),
  );
}
