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
  reopen(settings?: Wanted): Promise<void>;
  close(): Promise<void>;
}

/** As in the settings file. */
export interface Wanted {
  kind: string;
  [setting: string]: unknown;
}

export interface OpenOptions {
  /** Not started. */
  asleep?: boolean;
  logger?: Logger;
  /** What the door answers; left out: that it is stored. */
  take?: (message: RawMessage) => Promise<IntakeOutcome>;
  /** One that is there, and stays. */
  dir?: string;
}

export const stored: IntakeOutcome = { status: 'stored', readings: 1 };
export const unavailable: IntakeOutcome = {
  status: 'unavailable',
  detail: 'the disk is full',
  retryAfterSeconds: 0.05,
};

export async function openSource(
  settings: Wanted,
  { asleep = false, logger = silent, take = async () => stored, dir: given }: OpenOptions = {},
): Promise<OpenSource> {
  const dir = given ?? mkdtempSync(join(tmpdir(), `boardwalk-${settings.kind}-`));
  const removeDir = () => given ?? rmSync(dir, { recursive: true });
  let answer = take;
  const open: OpenSource = {
    source: undefined as never,
    dir,
    heard: [],
    faults: [],
    texts: () => open.heard.map((each) => Buffer.from(each.payload).toString()),
    fault: () => open.faults.at(-1),
    answer(next) {
      answer = next;
    },
    async reopen(changed = settings) {
      await open.source.stop();
      create(changed);
      await open.source.start();
    },
    async close() {
      await open.source.stop();
      removeDir();
    },
  };
  const intake: Intake = {
    open: () => ({
      take(message) {
        open.heard.push(message);
        return answer(message);
      },
      setFault: (fault) => void open.faults.push(fault),
    }),
  };

  function create(wanted: Wanted): void {
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
    removeDir();
    throw error;
  }
  return open;
}
