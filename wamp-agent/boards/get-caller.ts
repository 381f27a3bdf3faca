/** Who speaks when a board calls. */
import { AppError } from '../../common/runtime/app-error.ts';
import type { Caller } from '../../common/wamp/typed-session.ts';
import type { BoardDirectory, BoardEntry } from './directory.ts';

/** Throws AppError when the calling session may not speak for its board. */
export type GetCaller = (caller: Caller) => Promise<BoardEntry>;

/**
 * The board of a calling session, which must be its live one or come before any hello. An old
 * session of a board, or one whose key was revoked, may linger at the router: it is not heard.
 */
export function createGetCaller({ find }: Pick<BoardDirectory, 'find'>, cell: string): GetCaller {
  const isOther = ({ live }: BoardEntry, caller: Caller) =>
    live !== undefined && (live.wampSession !== caller.wampSession || live.cell !== cell);

  return async (caller) => {
    let board = await find(caller.authid);
    if (!board || board.status === 'revoked' || isOther(board, caller))
      board = await find(caller.authid, { fresh: true });
    if (!board) throw new AppError('board-not-found', 'this board does not exist');
    if (board.status === 'revoked') throw new AppError('board-revoked', 'this board is revoked');
    if (isOther(board, caller))
      throw new AppError('not-authorized', 'another session of this board is the live one');
    return board;
  };
}
