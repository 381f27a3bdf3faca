/** What every answer has, whatever was asked. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../harness/api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => api?.stop());

describe('every answer', () => {
  it('carries headers that forbid browsers what it does not need', async () => {
    for (const path of ['/healthz', '/v1/me', '/nothing']) {
      const { headers } = await api.request(path);
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
      );
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-powered-by')).toBeNull();
      expect(headers.get('access-control-allow-origin')).toBeNull();
    }
  });

  it('carries the trace it belongs to: the client’s, or a new one; so do its log line and problem', async () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const answer = await api.request('/v1/me', {
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    });
    expect(answer.headers.get('traceparent')).toMatch(
      new RegExp(`^00-${traceId}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`),
    );
    expect(answer.body.requestId).toBe(traceId);
    expect(api.log.filter((line) => line.includes(traceId))).toHaveLength(1);
    const odd = await api.request('/v1/me', { headers: { traceparent: '00-xyz' } });
    expect(odd.headers.get('traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });

  it('is logged once, without its query', async () => {
    await api.request('/v1/boards?labels=secret-in-query');
    const lines = api.log.filter((line) => line.includes('"operationId":"listBoards"'));
    expect(lines.length).toBe(1);
    expect(JSON.parse(lines[0] as string)).toMatchObject({
      level: 'info',
      method: 'GET',
      path: '/v1/boards',
      status: 401,
      problem: 'unauthenticated',
      durationMs: expect.any(Number),
    });
    expect(api.log.join('\n')).not.toContain('secret-in-query');
  });
});

describe('the service itself', () => {
  it('says that it lives and is ready, and whether a relay is known', async () => {
    expect((await api.request('/healthz')).body.status).toBe('ok');
    expect((await api.request('/readyz')).body).toEqual({
      status: 'ready',
      checks: { database: 'ok', relay: 'none' },
    });
  });

  it('gives figures by operation and status, and no names of tenants', async () => {
    const tenant = await api.rows.tenant('a-name-not-for-metrics');
    await api.request(`/v1/tenants/a-name-not-for-metrics`, { token: (await api.rows.key(tenant)).token });
    const { text, headers } = await api.request('/metrics');
    expect(headers.get('content-type')).toMatch(/^text\/plain/);
    expect(text).toMatch(
      /boardwalk_http_request_duration_seconds_count\{operation="getTenant",status="200"\} 1/,
    );
    expect(text).toMatch(/nodejs_eventloop_lag_seconds/);
    expect(text).not.toContain('a-name-not-for-metrics');
  });

  it('serves its contract', async () => {
    const { body } = await api.request('/v1/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    expect(body.paths['/v1/boards'].post.operationId).toBe('createBoard');
  });
});

describe('the reference page', () => {
  it('comes from this server alone, without inline scripts', async () => {
    expect((await api.request('/docs')).headers.get('location')).toBe('docs/');
    const page = await api.request('/docs/');
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self';");
    expect(page.text).not.toMatch(/https?:\/\/|<script>|<style>/);
    const links = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1]);
    expect(links.length).toBe(4);
    for (const link of links) expect((await api.request(`/docs/${link}`)).status, link).toBe(200);
  });
});
