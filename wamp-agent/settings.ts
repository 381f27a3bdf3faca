/**
 * What boards are told about their pace. It follows the number of boards of the cell: heartbeats of
 * all together stay under 100 a second, and after a router's death the boards come back no faster
 * than it can let them in.
 */
import type { BoardSettings } from '../common/wamp/agent-procedures.ts';
import type { SettingsConfig } from './config.ts';

export interface Settings {
  forBoard(boardUuid: string): BoardSettings;
  batchIntervalMs(boardUuid: string): number;
  /** How many boards live in the cell now. */
  countBoards(live: number): void;
}

export interface SettingsOptions {
  config: SettingsConfig;
  isWatched: (boardUuid: string) => boolean;
  now?: () => number;
}

const heartbeatsPerSecond = 100;
/** Measured: a router lets in 136 to 240 boards a second. */
const joinsPerSecond = 150;
const smallCell = { boards: 50, spreadMs: 1000 } as const;
const leastSpreadMs = 5000;
/** Boards that are away for a router's restart count on. */
const rememberMs = 600_000;

export function createSettings({ config, isWatched, now = Date.now }: SettingsOptions): Settings {
  let peak = { boards: 0, at: now() };

  function boards(): number {
    return peak.boards;
  }

  function reconnectSpreadMs(): number {
    if (config.reconnectSpreadMs !== undefined) return config.reconnectSpreadMs;
    if (boards() < smallCell.boards) return smallCell.spreadMs;
    return Math.round(Math.max(leastSpreadMs, (boards() / joinsPerSecond) * 1000));
  }

  const batchIntervalMs = (boardUuid: string) =>
    isWatched(boardUuid)
      ? Math.min(config.liveBatchIntervalMs, config.batchIntervalMs)
      : config.batchIntervalMs;

  return {
    batchIntervalMs,
    forBoard: (boardUuid) => ({
      batchIntervalMs: batchIntervalMs(boardUuid),
      heartbeatIntervalMs: Math.round(
        Math.max(config.heartbeatIntervalMs, (boards() / heartbeatsPerSecond) * 1000),
      ),
      reconnectSpreadMs: reconnectSpreadMs(),
    }),
    countBoards(live) {
      if (live >= peak.boards || now() - peak.at > rememberMs) peak = { boards: live, at: now() };
    },
  };
}
