/** Tells boards that somebody started to watch them, so that the first fresh reading does not wait. */
import { messageOf } from '../../common/runtime/app-error.ts';
import { inTurn } from '../../common/runtime/in-turn.ts';
import type { Logger } from '../../common/runtime/logger.ts';
import type { WampSession } from '../../common/wamp/typed-session.ts';
import { boardProcedureUri, reservedProcedures } from '../../common/wamp/uris.ts';
import type { BoardDirectory } from '../boards/directory.ts';

export interface FreshSettingsOptions {
  cell: string;
  directory: BoardDirectory;
  session: () => WampSession;
  batchIntervalMs: (boardUuid: string) => number;
  logger: Logger;
}

/** Boards told at a time. */
const atOnce = 16;
const patienceMs = 5000;

/** Best effort: a board that cannot be told learns it with its next acknowledgement. */
export function createSettingsPush(options: FreshSettingsOptions) {
  const { directory, cell, logger } = options;

  async function tell(boardUuid: string): Promise<void> {
    try {
      const board = await directory.find(boardUuid);
      if (board?.live?.cell !== cell) return;
      await options
        .session()
        .call(
          boardProcedureUri(boardUuid, reservedProcedures.settings),
          [],
          { batchIntervalMs: options.batchIntervalMs(boardUuid) },
          { signal: AbortSignal.timeout(patienceMs) },
        );
    } catch (error) {
      logger.debug({ boardUuid, reason: messageOf(error) }, 'a board was not told that it is watched');
    }
  }

  return (boardUuids: readonly string[]): Promise<void> => inTurn(boardUuids, atOnce, tell);
}
