/** A source by itself, with a door that the test answers for. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../board-agent/clock.ts';
import type { Intake, IntakeOutcome, RawMessage } from '../../../board-agent/intake/types.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { createSources } from '../../../board-agent/sources/create-sources.ts';
import type { Source } from '../../../board-agent/sources/source.ts';
import type { Logger } from '../../../common/runtime/logger.ts';
import { silent } from '../../unit/board-agent/fakes.ts';

export interface OpenSource {
  source: Source;
  dir: string;
  /** In the order in which they came, repetitions included. */
  heard: RawMessage[];
  /** Payloads of those, as text. */
  texts(): string[];
  /** undefined = it hears. */
  fault(): string | undefined;
  /** All that was said, oldest first. */
  faults: (string | undefined)[];
  /** What the door answers from now on. */
  answer(take: (message: RawMessage) => Promise<IntakeOutcome>): void;
  /** Stops it and makes it anew in the same folder, as a restart of the agent does. */
  reopen(settings?: object): Promise<void>;
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Not started. */
  asleep?: boolean;
  logger?: Logger;
}

export const stored: IntakeOutcome = { status: 'stored', readings: 1 };
export const unavailable: IntakeOutcome = {
  status: 'unavailable',
  detail: 'the disk is full',
  retryAfterSeconds: 0.05,
};

export async function openSource(
  settings: { kind: string },
  { asleep = false, logger = silent }: OpenOptions = {},
): Promise<OpenSource> {
  const dir = mkdtempSync(join(tmpdir(), `boardwalk-${settings.kind}-`));
  let take: (message: RawMessage) => Promise<IntakeOutcome> = async () => stored;
  const open: OpenSource = {
    source: undefined as never,
    dir,
    heard: [],
    faults: [],
    texts: () => open.heard.map((each) => Buffer.from(each.payload).toString()),
    fault: () => open.faults.at(-1),
    answer(next) {
      take = next;
    },
    async reopen(changed = settings) {
      await open.source.stop();
      create(changed);
      await open.source.start();
    },
    async close() {
      await open.source.stop();
      rmSync(dir, { recursive: true });
    },
  };
  const intake: Intake = {
    open: () => ({
      take(message) {
        open.heard.push(message);
        return take(message);
      },
      setFault: (fault) => void open.faults.push(fault),
    }),
  };

  function create(wanted: object): void {
    const [source] = createSources(parseSettings({ sources: [wanted] }).sources, {
      emit: () => undefined,
      clock: systemClock,
      logger,
      stateDir: dir,
      intake,
    });
    if (!source) throw new Error('no source');
    open.source = source;
  }
  try {
    create(settings);
    if (!asleep) await open.source.start();
  } catch (error) {
    rmSync(dir, { recursive: true });
    throw error;
  }
  return open;
}
