/** Bytes to lines. A line that never ends must not fill the memory: it is cut, and the intake refuses it. */
import { messageLimits } from '../../intake/prepare.ts';

export interface Line {
  content: Buffer;
  /** Bytes from the start of what was read to behind the line's end. */
  end: number;
}

export interface LineSplitter {
  push(chunk: Buffer): Line[];
  /** What came without a line feed, as far as it was kept; undefined = nothing. */
  rest(): Line | undefined;
}

const lineFeed = 0x0a;
/** One more than a message may have: so much is refused as too large, and counted. */
const keptBytes = messageLimits.payloadBytes + 1;

/** @param start position of the first byte that will be pushed */
export function createLineSplitter(start = 0): LineSplitter {
  let pieces: Buffer[] = [];
  let kept = 0;
  let position = start;

  function keep(piece: Buffer): void {
    const room = piece.subarray(0, Math.max(0, keptBytes - kept));
    if (room.length > 0) pieces.push(room);
    kept += room.length;
  }

  function take(): Buffer {
    const content = Buffer.concat(pieces);
    pieces = [];
    kept = 0;
    return content.at(-1) === 0x0d ? content.subarray(0, -1) : content;
  }

  return {
    push(chunk) {
      const lines: Line[] = [];
      let from = 0;
      for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, from)) {
        keep(chunk.subarray(from, at));
        from = at + 1;
        lines.push({ content: take(), end: position + from });
      }
      // Copied: the chunk belongs to whoever reads.
      keep(Buffer.from(chunk.subarray(from)));
      position += chunk.length;
      return lines;
    },
    rest: () => (kept === 0 ? undefined : { content: take(), end: position }),
  };
}
