import { describe, expect, it } from 'vitest';
import type { Database } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import type { BoardEntry } from '../../../wamp-agent/boards/directory.ts';
import { createMetrics } from '../../../wamp-agent/metrics.ts';
import { createPutArtifact } from '../../../wamp-agent/operations/artifacts.ts';
import { createTurns } from '../../../wamp-agent/operations/turns.ts';

const board = { uuid: 'b', tenantId: 't', live: undefined } as BoardEntry;
const chunk = {
  operationId: 'o',
  attempt: 1,
  artifact: { name: 'a', mediaType: 'text/plain', size: 1, sha256: 'f'.repeat(64) },
  offset: 0,
};
const caller = { wampSession: 1, authid: 'b', role: 'board' };

function putOf(read: () => Promise<never>, store: object | undefined) {
  return createPutArtifact({
    database: { read } as unknown as Database,
    store: store as never,
    keptDays: 1,
    getCaller: async () => board,
    noteRunning: async () => undefined,
    metrics: createMetrics(),
    logger: createLogger('test', 'silent'),
  });
}

describe('chunks of files', () => {
  it('are for later where no store is configured', async () => {
    const put = putOf(() => Promise.reject(new Error('not asked')), undefined);
    await expect(put(chunk, caller)).rejects.toMatchObject({
      code: 'unavailable',
      message: 'no artifact store is configured',
    });
  });

  it('of one board are taken two at a time', async () => {
    const held = Promise.withResolvers<never>();
    const put = putOf(() => held.promise, {});
    const waiting = [put(chunk, caller), put(chunk, caller)];
    await expect(put(chunk, caller)).rejects.toMatchObject({ code: 'too-many-requests' });
    held.reject(new Error('over'));
    for (const each of waiting) await expect(each).rejects.toThrow('over');
    await expect(put(chunk, caller)).rejects.toThrow('over');
  });

  it.each([
    ['ENOSPC', 'the artifact store is full'],
    ['EIO', 'the artifact store cannot be used right now'],
  ])('are for later when the disk says %s', async (code, message) => {
    const fault = Object.assign(new Error(code), { code, syscall: 'write' });
    await expect(putOf(() => Promise.reject(fault), {})(chunk, caller)).rejects.toMatchObject({
      code: 'unavailable',
      message,
      details: { retryAfterMs: expect.any(Number) },
    });
  });
});

describe('turns', () => {
  it('let few work at once, some wait, and send the rest away', async () => {
    const turns = createTurns({ atOnce: 1, waiting: 1 });
    const first = Promise.withResolvers<string>();
    const order: string[] = [];
    const note = async (name: string) => {
      order.push(name);
      return name;
    };
    const working = [turns(() => first.promise.then(note)), turns(() => note('second'))];
    await expect(turns(() => note('third'))).rejects.toMatchObject({ code: 'unavailable' });
    expect(order).toEqual([]);
    first.resolve('first');
    expect(await Promise.all(working)).toEqual(['first', 'second']);
    expect(order).toEqual(['first', 'second']);
    expect(await turns(() => note('third'))).toBe('third');
  });

  it('pass on also when the work failed', async () => {
    const turns = createTurns({ atOnce: 1, waiting: 1 });
    await expect(turns(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await turns(async () => 'yes')).toBe('yes');
  });
});
