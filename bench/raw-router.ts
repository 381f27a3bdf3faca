/** The same router in the same configuration, but nothing behind it: whoever knocks may do anything, at once. */
import { agentUris } from '../common/wamp/uris.ts';
import { startCrossbar, type TestCrossbar } from '../test/harness/crossbar.ts';
import { openRawSession, type RawSession } from './raw-session.ts';

export interface RawRouter {
  router: TestCrossbar;
  stop(): Promise<void>;
}

export async function startRawRouter(): Promise<RawRouter> {
  const router = await startCrossbar();
  const session: RawSession = await openRawSession({
    socket: router.agentSocket,
    realm: router.realm,
    ticket: router.agentTicket,
  });
  await session.register(agentUris.authenticate, (args) => {
    const [, authid, details] = args as [string, string, { authextra?: { pubkey?: string } }];
    return { realm: router.realm, authid, role: 'board', pubkey: details.authextra?.pubkey };
  });
  await session.register(agentUris.authorize, (args) => ({
    allow: true,
    disclose: true,
    // As the product's own answer: calls of all boards, but never a board's own registration.
    cache: args[2] === 'call',
  }));
  await session.register(agentUris.appendReadings, () => ({ ackedSeq: 0, batchIntervalMs: 1000 }));
  return {
    router,
    async stop() {
      session.close();
      await router.stop();
    },
  };
}
