/** An intake on a real spool in a folder of its own, with a clock that moves when told. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIntake, type IntakeOptions } from '../../../../board-agent/intake/intake.ts';
import type {
  IntakeDoor,
  IntakeOutcome,
  IntakeSettings,
  RawMessage,
} from '../../../../board-agent/intake/types.ts';
import { createSpool, type Spool } from '../../../../board-agent/spool/spool.ts';
import { createFakeClock, type FakeClock, silent } from '../fakes.ts';

export const boardUuid = randomUUID();

export interface Bench {
  dir: string;
  clock: FakeClock;
  spool: Spool;
  intake: ReturnType<typeof createIntake>;
  /** The door of source `field`. */
  door: IntakeDoor;
  /** Closes all and opens it again, as a new process would. */
  restart(settings?: Partial<IntakeSettings>): void;
  close(): void;
}

export const settingsOf = (settings: Partial<IntakeSettings> = {}): IntakeSettings => ({
  name: 'field',
  rules: [
    { match: 'r', decoder: 'json' },
    { match: 'r/{module}', decoder: 'json' },
  ],
  maxPerSecond: 1000,
  macKeyFiles: {},
  macRequired: false,
  ...settings,
});

export function createBench(
  settings: Partial<IntakeSettings> = {},
  options: Partial<IntakeOptions> & { maxBytes?: number } = {},
): Bench {
  const dir = mkdtempSync(join(tmpdir(), 'boardwalk-intake-'));
  const clock = createFakeClock();
  const { maxBytes = 50_000_000, ...more } = options;
  const bench = { dir, clock } as Bench;
  function start(changed = settings): void {
    bench.spool = createSpool({
      path: join(dir, 'spool.db'),
      boardUuid,
      limits: { maxBytes, maxAgeMs: 30 * 86_400_000 },
      clock,
      logger: silent,
    });
    bench.intake = createIntake({
      spool: bench.spool,
      clock,
      logger: silent,
      letterBytes: 1_000_000,
      ownerOf: () => undefined,
      ...more,
    });
    bench.door = bench.intake.open('test', settingsOf(changed));
  }
  start();
  bench.restart = (changed) => {
    bench.spool.close();
    start(changed);
  };
  bench.close = () => {
    bench.spool.close();
    rmSync(dir, { recursive: true });
  };
  return bench;
}

/** Starts its intake, and lets every device in. */
export async function letIn({ intake }: Pick<Bench, 'intake'>): Promise<void> {
  await intake.start();
  await intake.decide({ unknownDevices: 'create', createPerMinute: 600, version: 'v1', decisions: [] }, []);
}

export function message(payload: unknown, more: Partial<RawMessage> = {}): RawMessage {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return { path: 'r', payload: Buffer.from(text), ...more };
}

export const reading = (device: string, seq: number | undefined, data: object): RawMessage =>
  message({ device, ...(seq !== undefined && { seq }), data });

export async function statuses(outcomes: Promise<IntakeOutcome>[]): Promise<string[]> {
  return (await Promise.all(outcomes)).map((each) => each.status);
}
