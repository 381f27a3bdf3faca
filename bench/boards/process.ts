/** The process that plays the boards, so that their work is not done by the one that measures. */

import { systemClock } from '../../board-agent/clock.ts';
import { signChallenge } from '../../board-agent/session/cryptosign.ts';
import { isRefusal, type Link, openLink } from '../../board-agent/session/link.ts';
import { agentUris, boardPrefix } from '../../common/wamp/uris.ts';
import { runFanIn } from './fan-in.ts';
import { ingest } from './ingest.ts';
import type { BoardKeys, Command, Outcome, Router } from './messages.ts';
import { createBatch, createSimulatedBoard, type SimulatedBoard } from './simulated-board.ts';

const boards = new Map<string, SimulatedBoard>();
const links: Link[] = [];

process.on('message', (command: Command) => {
  run(command).then(
    (outcome) => process.send?.(outcome),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => process.exit());

async function run(command: Command): Promise<Outcome> {
  const startedAt = performance.now();
  const took = () => ({ ms: performance.now() - startedAt });
  switch (command.do) {
    case 'join':
      await Promise.all(command.boards.map((keys) => join(keys, command.router)));
      return took();
    case 'join-raw':
      await Promise.all(command.boards.map((keys) => joinRaw(keys, command.router)));
      return took();
    case 'leave':
      await Promise.all([...boards.values()].map(({ session }) => session.stop()));
      await Promise.all(links.map((link) => link.leave()));
      boards.clear();
      links.length = 0;
      return took();
    case 'fan-in':
      return { ms: 0, fanIn: await runFanIn([...boards.values()], command) };
    case 'ingest': {
      const [uuid, board] = first();
      return { ms: await ingest(board, { ...command, uuid }) };
    }
    case 'push-raw':
      await pushRaw(command);
      return took();
    case 'append': {
      const [, board] = first();
      for (let sent = 0; sent < command.batches; sent += 1)
        await board.session.call('appendReadings', board.nextBatch(command.readingsPerBatch), 30_000);
      return took();
    }
  }
}

function first(): [string, SimulatedBoard] {
  const [entry] = boards;
  if (entry === undefined) throw new Error('no board has joined');
  return entry;
}

async function join(keys: BoardKeys, router: Router): Promise<void> {
  const board = createSimulatedBoard(keys, router);
  boards.set(keys.uuid, board);
  board.session.start();
  await board.online;
}

/** As little as a board can do to be callable, with the agent's own link. */
async function joinRaw(keys: BoardKeys, router: Router): Promise<void> {
  const link = await openLink({
    ...router,
    joinTimeoutMs: 90_000,
    clock: systemClock,
    authentication: {
      method: 'cryptosign',
      authid: keys.uuid,
      publicKey: keys.publicKey,
      sign: (challenge) => signChallenge(keys.privateKey, challenge),
    },
  });
  if (isRefusal(link)) throw new Error(`not joined: ${link.message}`);
  links.push(link);
  await link.registerPrefix(boardPrefix(keys.uuid), async () => null);
}

async function pushRaw({ readings, batch }: { readings: number; batch: number }): Promise<void> {
  const [link] = links;
  if (link === undefined) throw new Error('no bare session has joined');
  for (let from = 1; from <= readings; from += batch)
    await link.call(agentUris.appendReadings, createBatch('raw', from, batch), 30_000);
}
