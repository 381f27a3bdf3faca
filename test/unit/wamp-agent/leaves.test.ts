import { expect, it } from 'vitest';
import type { Database } from '../../../common/db/database.ts';
import { createLogger } from '../../../common/runtime/logger.ts';
import { createLeaves } from '../../../wamp-agent/presence/leaves.ts';
import { until } from '../../harness/until.ts';

it('a leave that is told again while it is being looked up is looked up again', async () => {
  const asked: Promise<unknown[]>[] = [];
  const answers: ((rows: unknown[]) => void)[] = [];
  const query = () => {
    const { promise, resolve } = Promise.withResolvers<unknown[]>();
    asked.push(promise);
    answers.push(resolve);
    return promise;
  };
  const database = {
    read: (work: (manager: { query: typeof query }) => unknown) => work({ query }),
  } as unknown as Database;
  const leaves = createLeaves({
    database,
    cell: 'default',
    directory: { peek: () => ({ known: false }), find: async () => undefined, forget: () => undefined },
    changes: { announce: () => undefined },
    logger: createLogger('test', 'silent'),
    delayMs: () => 0,
  });
  leaves.note(7);
  await until('the first look', () => asked.length === 1);
  // Its hello was being written: the row is there only now, and hello says so.
  leaves.note(7);
  answers[0]?.([]);
  await until('the second look', () => asked.length === 2);
  answers[1]?.([]);
  await leaves.stop();
  expect(asked).toHaveLength(2);
});
