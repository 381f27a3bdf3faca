/** `boardwalk.agent.heartbeat`: the application's own probe; says when the server lost the session. */

import { AppError } from '../../common/runtime/app-error.ts';
import type { HeartbeatAnswer, HeartbeatRequest } from '../../common/wamp/agent-procedures.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import type { BoardDirectory, BoardEntry } from '../boards/directory.ts';
import type { Backlogs } from '../presence/backlogs.ts';
import type { SignsOfLife } from '../presence/signs-of-life.ts';

export interface HeartbeatOptions {
  cell: string;
  directory: BoardDirectory;
  signs: SignsOfLife;
  backlogs: Pick<Backlogs, 'note'>;
  /** Ends the sessions of a board that was revoked; never throws. */
  onRevoked: (boardUuid: string) => void;
}

export function createHeartbeat({ cell, directory, signs, backlogs, onRevoked }: HeartbeatOptions) {
  return async ({ spooledReadings }: HeartbeatRequest, caller: Caller): Promise<HeartbeatAnswer> => {
    const isLive = (board: BoardEntry | undefined) =>
      board?.live?.wampSession === caller.wampSession && board.live.cell === cell;
    let board = await directory.find(caller.authid);
    if (!isLive(board)) board = await directory.find(caller.authid, { fresh: true });
    if (!board || board.status === 'revoked') {
      onRevoked(caller.authid);
      throw new AppError(board ? 'board-revoked' : 'board-not-found', 'this board may not be here any more');
    }
    const live = isLive(board);
    if (live) {
      signs.note(board.uuid, 'heartbeat');
      if (spooledReadings !== undefined) backlogs.note(board.uuid, spooledReadings);
    }
    return { serverTime: Date.now(), helloNeeded: !live };
  };
}
