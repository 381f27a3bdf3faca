/** A storm of boards, all at once: let in by the database, registered and greeted, against bare joins. */
import type { BenchContext } from '../context.ts';
import { alternate, median } from '../measure.ts';
import { createResult, type Result } from '../results.ts';

const storm = 300;

export async function measureJoins(context: BenchContext): Promise<Result[]> {
  // Everybody leaves first, and the storm is made of boards that nobody remembers.
  await context.boards(0);
  const { boardsProcess, router } = context;
  const { router: rawRouter } = await context.rawRouter();
  const perSecond = (ms: number) => (storm / ms) * 1000;
  const rounds = await alternate(
    5,
    async () => {
      const boards = await context.register(storm);
      const { ms } = await boardsProcess.run({ do: 'join-raw', router: rawRouter, boards });
      await boardsProcess.run({ do: 'leave' });
      return perSecond(ms);
    },
    async () => {
      const boards = await context.register(storm);
      const { ms } = await boardsProcess.run({ do: 'join', router, boards });
      await boardsProcess.run({ do: 'leave' });
      return perSecond(ms);
    },
  );
  return [
    createResult(
      { name: 'boards.join', unit: 'joins/s', value: median(rounds.product), raw: median(rounds.raw) },
      { atLeast: 0.7 },
    ),
  ];
}
