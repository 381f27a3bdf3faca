/** Between the bench and its process of boards. */
export interface BoardKeys {
  uuid: string;
  publicKey: string;
  privateKey: string;
}

export interface Router {
  url: string;
  realm: string;
}

export type Command =
  /** Real sessions: joined, prefix registered, hello answered. Those of earlier commands stay. */
  | { do: 'join'; router: Router; boards: BoardKeys[] }
  /** Bare ones: joined by cryptosign and prefix registered. */
  | { do: 'join-raw'; router: Router; boards: BoardKeys[] }
  | { do: 'leave' }
  /** Every joined board sends a batch each second. */
  | { do: 'fan-in'; seconds: number; warmUpSeconds: number; readingsPerBatch: number }
  /** The first joined board sends a filled spool. */
  | { do: 'ingest'; readings: number; batch: number; spoolPath: string }
  /** The first bare session pushes batches like those, one after the other. */
  | { do: 'push-raw'; readings: number; batch: number }
  /** The first joined board sends batches without a spool, one after the other. */
  | { do: 'append'; batches: number; readingsPerBatch: number };

export interface FanInOutcome {
  batches: number;
  failed: number;
  /** Batches that could not be begun in their second. */
  skipped: number;
  seconds: number;
  lagsMs: { p50: number; p99: number; max: number };
}

export interface Outcome {
  ms: number;
  fanIn?: FanInOutcome;
}
