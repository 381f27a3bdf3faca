/**
 * A storm of boards, all at once, as after the router's restart: let in by the database, registered
 * and greeted, against bare joins. The boards have been here before.
 */
import type { BenchContext } from '../context.ts';
import { alternate, median } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const storm = 300;

export async function measureJoins(context: BenchContext): Promise<Result[]> {
  // Whoever is online would only send heartbeats meanwhile.
  await context.boards(0);
  const { boardsProcess, router } = context;
  const { router: rawRouter } = await context.rawRouter();
  const boards = await context.register(storm);
  const joinAll = async (what: 'join' | 'join-raw') => {
    const { ms } = await boardsProcess.run({
      do: what,
      router: what === 'join' ? router : rawRouter,
      boards,
    });
    await boardsProcess.run({ do: 'leave' });
    return (storm / ms) * 1000;
  };
  const first = await joinAll('join');
  const rounds = await alternate(
    5,
    () => joinAll('join-raw'),
    () => joinAll('join'),
  );
  const unit = 'joins/s';
  const raw = median(rounds.raw);
  return [
    createResult({ name: 'boards.join', unit, value: median(rounds.product), raw }, { atLeast: 0.7 }),
    createResult({
      name: 'boards.join.first',
      unit,
      value: first,
      raw,
      note: 'once: new boards declare themselves',
    }),
  ];
}
