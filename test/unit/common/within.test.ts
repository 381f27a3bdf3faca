import { describe, expect, it } from 'vitest';
import { within } from '../../../common/runtime/within.ts';

describe('within', () => {
  it('passes on the answer and the failure', async () => {
    await expect(within(1000, Promise.resolve(1))).resolves.toBe(1);
    await expect(within(1000, Promise.reject(new Error('down')))).rejects.toThrow('down');
  });

  it('gives up on what never answers', async () => {
    await expect(within(20, new Promise(() => undefined))).rejects.toThrow('no answer within 20 ms');
  });
});
