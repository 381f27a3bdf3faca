/** Downloads of what boards sent: whole, in parts, and never as something that a browser runs. */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createArtifactStore } from '../../../common/artifacts/store.ts';
import { type OperationsApi, startOperationsApi } from './operations-support.ts';

let dir: string;
let ops: OperationsApi;
let board: string;
let operation: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'boardwalk-artifacts-'));
  ops = await startOperationsApi({ artifactDir: dir });
  board = await ops.board();
  operation = (await ops.create({ target: { boards: [board] } })).body.id;
});
afterAll(async () => {
  await ops?.stop();
  await rm(dir, { recursive: true, force: true });
});

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

async function artifact(bytes: Buffer | undefined, values: Record<string, unknown> = {}): Promise<string> {
  const id = randomUUID();
  const sha256 = bytes ? hashOf(bytes) : 'f'.repeat(64);
  if (bytes) {
    const store = createArtifactStore(dir);
    if (bytes.length > 0) await store.writePart(id, 0, bytes);
    expect(await store.finishPart(id, { sha256, size: bytes.length })).toBe(true);
  }
  const now = new Date();
  await ops.api.rows.insert('artifacts', {
    id,
    tenant_id: ops.tenant,
    board_uuid: board,
    operation_id: operation,
    attempt: 1,
    name: `file-${id.slice(0, 8)}`,
    media_type: 'text/plain',
    size: bytes?.length ?? 10,
    sha256,
    received: bytes?.length ?? 4,
    state: bytes ? 'complete' : 'receiving',
    created_at: now,
    updated_at: now,
    expires_at: new Date(now.getTime() + 1_000_000),
    ...values,
  });
  return id;
}

interface Download {
  status: number;
  headers: Headers;
  bytes: Buffer;
}

async function download(id: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Download> {
  const response = await fetch(`${ops.api.url}/v1/artifacts/${id}/content`, {
    method,
    headers: { authorization: `Bearer ${ops.token}`, ...headers },
  });
  return {
    status: response.status,
    headers: response.headers,
    bytes: Buffer.from(await response.arrayBuffer()),
  };
}

describe('an artifact', () => {
  it('is downloaded as it was sent, to be saved under its name', async () => {
    const bytes = randomBytes(300_000);
    const id = await artifact(bytes, { name: 'Überblick "1".txt' });
    const answer = await download(id);
    expect(answer.status).toBe(200);
    expect(answer.bytes.equals(bytes)).toBe(true);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'content-type': 'text/plain; charset=utf-8',
      'content-length': '300000',
      'content-disposition': "attachment; filename*=UTF-8''%C3%9Cberblick%20%221%22.txt",
      'x-content-type-options': 'nosniff',
      'accept-ranges': 'bytes',
      etag: `"${hashOf(bytes)}"`,
    });
  });

  it.each(['text/html', 'image/svg+xml', 'application/javascript', 'TEXT/HTML'])(
    'that calls itself %s is bytes to a browser',
    async (type) => {
      const id = await artifact(Buffer.from('<script>1</script>'), { media_type: type });
      const { headers } = await download(id);
      expect(headers.get('content-type')).toBe('application/octet-stream');
      expect(headers.get('content-security-policy')).toBe("sandbox; default-src 'none'");
    },
  );

  it('is downloaded in parts', async () => {
    const bytes = Buffer.from('0123456789');
    const id = await artifact(bytes);
    const part = async (range: string, more: Record<string, string> = {}) => {
      const answer = await download(id, { range, ...more });
      return [answer.status, answer.headers.get('content-range'), answer.bytes.toString()];
    };
    expect(await part('bytes=2-4')).toEqual([206, 'bytes 2-4/10', '234']);
    expect(await part('bytes=7-')).toEqual([206, 'bytes 7-9/10', '789']);
    expect(await part('bytes=-1')).toEqual([206, 'bytes 9-9/10', '9']);
    expect(await part('bytes=0-1,4-5')).toEqual([200, null, '0123456789']);
    expect(await part('bytes=2-4', { 'if-range': `"${hashOf(bytes)}"` })).toEqual([
      206,
      'bytes 2-4/10',
      '234',
    ]);
    expect(await part('bytes=2-4', { 'if-range': '"other"' })).toEqual([200, null, '0123456789']);
    const beyond = await download(id, { range: 'bytes=10-' });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */10']);
    expect(JSON.parse(beyond.bytes.toString())).toMatchObject({ status: 416, code: 'invalid-request' });
  });

  it('that holds nothing is downloaded too', async () => {
    const answer = await download(await artifact(Buffer.alloc(0)));
    expect([answer.status, answer.headers.get('content-length'), answer.bytes.length]).toEqual([200, '0', 0]);
  });

  it('is not sent again to who has it, nor to who only wants to know of it', async () => {
    const bytes = Buffer.from('hello');
    const id = await artifact(bytes);
    const known = await download(id, { 'if-none-match': `"${hashOf(bytes)}"` });
    expect([known.status, known.bytes.length]).toEqual([304, 0]);
    const head = await download(id, {}, 'HEAD');
    expect([head.status, head.headers.get('content-length'), head.bytes.length]).toEqual([200, '5', 0]);
  });

  it('that is still arriving cannot be downloaded, nor one whose bytes are gone', async () => {
    const receiving = await download(await artifact(undefined));
    expect(receiving.status).toBe(409);
    expect(JSON.parse(receiving.bytes.toString())).toMatchObject({
      state: 'receiving',
      received: 4,
      size: 10,
    });
    const gone = await download(await artifact(undefined, { state: 'complete' }));
    expect(gone.status).toBe(404);
  });

  it('leaves nothing open when its client goes away in the middle', async () => {
    const bytes = randomBytes(20_000_000);
    const id = await artifact(bytes);
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(
        `${ops.api.url}/v1/artifacts/${id}/content`,
        { headers: { authorization: `Bearer ${ops.token}` } },
        (response) => response.once('data', () => response.destroy()).once('close', resolve),
      );
      request.on('error', reject);
      request.end();
    });
    expect((await download(id)).bytes.length).toBe(bytes.length);
  });

  it('is listed with its operation and can be read by itself', async () => {
    const id = await artifact(Buffer.from('x'));
    const one = await ops.get(`/v1/artifacts/${id}`);
    expect(one.body).toMatchObject({ id, operation, board, size: 1, state: 'complete', received: 1 });
    const seen: string[] = [];
    let after = '';
    do {
      const { body } = await ops.get(`/v1/operations/${operation}/artifacts?limit=2${after}`);
      seen.push(...body.items.map((each: { id: string }) => each.id));
      after = body.next ? `&after=${encodeURIComponent(body.next)}` : '';
    } while (after);
    const rows = await ops.rows('SELECT id FROM artifacts WHERE operation_id = ?', [operation]);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.sort()).toEqual(rows.map((row) => row.id).sort());
    expect(seen).toContain(id);
  });

  it('of an operation that a limited key did not make is missing to it', async () => {
    const id = await artifact(Buffer.from('x'));
    const { token } = await ops.api.rows.key(ops.tenant, { boards: [board] });
    for (const path of [`/v1/artifacts/${id}`, `/v1/artifacts/${id}/content`])
      expect((await ops.api.request(path, { token })).body.code).toBe('not-found');
  });
});

describe('an api without a directory', () => {
  it('says so', async () => {
    const id = await artifact(Buffer.from('x'));
    const other = await startOperationsApi();
    try {
      const [row] = await ops.rows('SELECT * FROM artifacts WHERE id = ?', [id]);
      await other.api.rows.insert('artifacts', { ...row, tenant_id: other.tenant });
      const answer = await other.get(`/v1/artifacts/${id}/content`);
      expect([answer.status, answer.body.code]).toEqual([503, 'unavailable']);
    } finally {
      await other.stop();
    }
  });
});
