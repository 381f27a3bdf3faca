/** Child of spool.test.ts: writes without end and prints how many readings are committed. */
import { systemClock } from '../../../board-agent/clock.ts';
import { createSpool } from '../../../board-agent/spool/spool.ts';
import { silent } from './fakes.ts';

const [path = '', boardUuid = ''] = process.argv.slice(2);
const spool = createSpool({
  path,
  boardUuid,
  limits: { maxBytes: 1e9, maxAgeMs: 1e12 },
  clock: systemClock,
  logger: silent,
});
const stream = { name: 'room/count', type: 'number', unit: '' } as const;
for (let count = 0; ; ) {
  for (let index = 0; index < 50; index += 1, count += 1) spool.add({ stream, at: Date.now(), value: count });
  spool.flush();
  process.stdout.write(`${count}\n`);
}
