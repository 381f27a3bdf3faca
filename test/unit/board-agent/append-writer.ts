/** Child of spool-append.test.ts: appends without end, many at a time, and prints each value that was resolved. */
import { systemClock } from '../../../board-agent/clock.ts';
import { createSpool } from '../../../board-agent/spool/spool.ts';
import { silent } from './fakes.ts';

const [path = '', boardUuid = ''] = process.argv.slice(2);
const limits = { maxBytes: 1e9, maxAgeMs: 1e12 };
const spool = createSpool({ path, boardUuid, limits, clock: systemClock, logger: silent });
const stream = { name: 'n1/count', type: 'number', unit: '' } as const;
let count = 0;

async function appendForEver(): Promise<void> {
  for (;;) {
    count += 1;
    const value = count;
    await spool.append((tx) => tx.add({ stream, at: Date.now(), value }));
    process.stdout.write(`${value}\n`);
  }
}

await Promise.all(Array.from({ length: 50 }, appendForEver));
