/** What handlers are made with; main.ts builds it once. */
import type { Database } from '../common/db/database.ts';
import type { Lifecycle } from '../common/runtime/lifecycle.ts';
import type { Logger } from '../common/runtime/logger.ts';
import type { ApiConfig } from './config.ts';
import type { ApiMetrics } from './http/metrics.ts';

export interface ApiDeps {
  config: ApiConfig;
  database: Database;
  logger: Logger;
  metrics: ApiMetrics;
  /** Aborted when the process is asked to stop: endless answers end on it. */
  stopping: AbortSignal;
  /** Steps to take when no request is under way any more. */
  onStop: Lifecycle['onStop'];
}
