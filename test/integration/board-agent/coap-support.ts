/** A CoAP source in this process, over a real intake and spool or over a door of the test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../board-agent/clock.ts';
import type { Intake, IntakeOutcome, RawMessage } from '../../../board-agent/intake/types.ts';
import { parseSettings } from '../../../board-agent/settings.ts';
import { createSources } from '../../../board-agent/sources/create-sources.ts';
import type { Source } from '../../../board-agent/sources/source.ts';
import { findFreeUdpPort } from '../../harness/udp-coap.ts';
import { silent } from '../../unit/board-agent/fakes.ts';
import { type Bench, createBench } from '../../unit/board-agent/intake/support.ts';

export interface OpenedSource {
  port: number;
  heard: RawMessage[];
  faults: (string | undefined)[];
  source: Source;
}

export type CleanUp = (() => void | Promise<void>)[];

export async function openCoapSource(
  cleanUp: CleanUp,
  settings: object = {},
  take: (message: RawMessage) => Promise<IntakeOutcome> = async () => ({ status: 'stored', readings: 1 }),
): Promise<OpenedSource> {
  const dir = mkdtempSync(join(tmpdir(), 'boardwalk-coap-'));
  const port = await findFreeUdpPort();
  const heard: RawMessage[] = [];
  const faults: (string | undefined)[] = [];
  const intake: Intake = {
    open: () => ({
      take(message) {
        heard.push(message);
        return take(message);
      },
      setFault: (fault) => void faults.push(fault),
    }),
  };
  const whole = { kind: 'coap', port, rules: [{ match: 'r', decoder: 'json' }], ...settings };
  const [source] = createSources(parseSettings({ sources: [whole] }).sources, {
    emit: () => undefined,
    clock: systemClock,
    logger: silent,
    stateDir: dir,
    intake,
  });
  if (!source) throw new Error('no source');
  await source.start();
  cleanUp.push(
    () => rmSync(dir, { recursive: true }),
    () => source.stop(),
  );
  return { port, heard, faults, source };
}

/** An intake that lets every device in. */
export async function openIntake(cleanUp: CleanUp, settings: object = {}): Promise<Bench> {
  const bench = createBench(settings);
  cleanUp.push(() => bench.close());
  await bench.intake.start();
  await bench.intake.decide(
    { unknownDevices: 'create', createPerMinute: 600, version: 'v1', decisions: [] },
    [],
  );
  return bench;
}
