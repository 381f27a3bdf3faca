/** What a rollout does next: pure. Its waves follow one another; nothing of a wave is sent before it is open. */
import type { Rollout, WaveCounts } from '../../common/db/queries/rollouts.ts';
import { type Release, releasable } from '../../common/operations/rollout.ts';

export type RolloutStep =
  | { do: 'nothing' }
  | { do: 'open'; wave: number }
  /** The open wave has its share of successes; somebody has to approve the next one. */
  | { do: 'wait'; reason: string }
  | { do: 'release'; release: Release }
  | { do: 'pause'; reason: string }
  | { do: 'abort'; reason: string }
  | { do: 'finish' };

/** @param now epoch milliseconds of the database's clock */
export function decideRollout(rollout: Rollout, waves: readonly WaveCounts[], now: number): RolloutStep {
  const { options, wave } = rollout;
  if (waves.every(({ held, open }) => held + open === 0)) return { do: 'finish' };
  if (rollout.state !== 'running') return { do: 'nothing' };
  const aborts = reasonToAbort(rollout, waves);
  if (aborts !== undefined) return { do: 'abort', reason: aborts };
  const next = wave + 1;
  const proceed = (): RolloutStep =>
    needsApproval(rollout, next)
      ? { do: 'wait', reason: `wave ${next} of ${rollout.waves} waits for approval` }
      : { do: 'open', wave: next };
  if (wave === 0) return proceed();
  const current = waves.find((each) => each.wave === wave) ?? { ...empty, wave };
  if (current.held > 0) {
    const { releasedAt } = rollout;
    const succeeded = sum(waves, ({ succeeded: each }) => each);
    const state = { held: current.held, succeeded, releasedAt: releasedAt?.getTime() };
    const release = releasable(options, state, now);
    return release.count > 0 ? { do: 'release', release } : { do: 'nothing' };
  }
  // The last wave has nothing after it to hold back.
  if (current.open > 0 || wave >= rollout.waves) return { do: 'nothing' };
  const ended = current.succeeded + current.failed;
  const percent = ended === 0 ? 100 : (current.succeeded / ended) * 100;
  if (percent >= options.successPercent) return proceed();
  return {
    do: 'pause',
    reason:
      `in wave ${wave} of ${rollout.waves}, ${current.succeeded} of ${ended} succeeded ` +
      `(${shown(percent)} %, at least ${options.successPercent} % are asked for)`,
  };
}

const empty = { held: 0, open: 0, succeeded: 0, failed: 0, cancelled: 0 };

function needsApproval({ options: { approval } }: Rollout, wave: number): boolean {
  return approval === 'each-wave' || (approval === 'start' && wave === 1);
}

function reasonToAbort({ options: { abort } }: Rollout, waves: readonly WaveCounts[]): string | undefined {
  if (!abort) return undefined;
  const failed = sum(waves, (each) => each.failed);
  const ended = failed + sum(waves, (each) => each.succeeded);
  if (ended < abort.afterEnded || failed === 0) return undefined;
  const percent = (failed / ended) * 100;
  if (percent < abort.failedPercent) return undefined;
  return `${failed} of ${ended} failed (${shown(percent)} %, it is given up at ${abort.failedPercent} %)`;
}

const sum = (waves: readonly WaveCounts[], of: (each: WaveCounts) => number) =>
  waves.reduce((total, each) => total + of(each), 0);

const shown = (percent: number) => Math.round(percent * 10) / 10;
