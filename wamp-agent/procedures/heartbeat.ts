/** `boardwalk.agent.heartbeat`: the application's own probe; says when the server lost the session. */

import { AppError } from '../../common/runtime/app-error.ts';
import type { HeartbeatAnswer, HeartbeatRequest } from '../../common/wamp/agent-procedures.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import type { BoardDirectory, BoardEntry } from '../boards/directory.ts';
import type { SignsOfLife } from '../presence/signs-of-life.ts';

export interface HeartbeatOptions {
  cell: string;
  directory: BoardDirectory;
  signs: SignsOfLife;
  /** Ends the sessions of a board that was revoked; never throws. */
  onRevoked: (boardUuid: string) => void;
}

export function createHeartbeat({ cell, directory, signs, onRevoked }: HeartbeatOptions) {
  return async (_request: HeartbeatRequest, caller: Caller): Promise<HeartbeatAnswer> => {
    const isLive = (board: BoardEntry | undefined) =>
      board?.live?.wampSession === caller.wampSession && board.live.cell === cell;
    let board = await directory.find(caller.authid);
    if (!isLive(board)) board = await directory.find(caller.authid, { fresh: true });
    if (!board || board.status === 'revoked') {
      onRevoked(caller.authid);
      throw new AppError(board ? 'board-revoked' : 'board-not-found', 'this board may not be here any more');
    }
    const live = isLive(board);
    if (live) signs.note(board.uuid, 'heartbeat');
    return { serverTime: Date.now(), helloNeeded: !live };
  };
}
