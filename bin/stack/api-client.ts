/** The few API calls that start-up and status make, over HTTP like anybody's. */
import { asObject, type JsonObject } from '../../common/runtime/guards.ts';

export interface ApiClient {
  /** The answer's JSON; throws ApiRefusal for any status from 400. */
  request(method: string, path: string, body?: unknown): Promise<JsonObject>;
  /** Like a GET request, but undefined for 404. */
  find(path: string): Promise<JsonObject | undefined>;
}

export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function createApiClient(apiUrl: string, token?: string, timeoutMs = 10_000): ApiClient {
  async function request(method: string, path: string, body?: unknown): Promise<JsonObject> {
    const response = await fetch(`${apiUrl}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await response.text();
    if (!response.ok)
      throw new ApiRefusal(response.status, `${method} ${path}: ${response.status} ${text.slice(0, 500)}`);
    return text === '' ? {} : asObject(JSON.parse(text), `answer of ${method} ${path}`);
  }

  return {
    request,
    async find(path) {
      try {
        return await request('GET', path);
      } catch (error) {
        if (error instanceof ApiRefusal && error.status === 404) return undefined;
        throw error;
      }
    },
  };
}
