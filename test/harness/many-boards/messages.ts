/** Between a test and its processes of boards. */
export type BoardsCommand =
  /** Runs the agents of these state folders; those that run already go on. */
  | { do: 'start'; stateDirs: string[]; settings: object }
  | { do: 'stop'; stateDirs: string[] }
  | { do: 'online' };

export interface BoardsOutcome {
  online?: number;
}
