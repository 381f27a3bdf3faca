/** The parts of one CoAP server, put together. Imported when a source starts: only then the codec is needed. */
import type { Logger } from '../../../common/runtime/logger.ts';
import type { Clock } from '../../clock.ts';
import type { IntakeDoor } from '../../intake/types.ts';
import { createUploads } from './blocks.ts';
import { createConfirmable } from './confirmable.ts';
import { createExchanges } from './exchanges.ts';
import { createRequestHandler } from './requests.ts';
import type { CoapSourceSettings } from './settings.ts';
import { createSockets, type ListenAddress } from './sockets.ts';
import { createTimeResource } from './time-resource.ts';

export interface CoapServerOptions {
  settings: CoapSourceSettings;
  addresses: readonly ListenAddress[];
  door: IntakeDoor;
  clock: Clock;
  logger: Logger;
  /** Epoch milliseconds, for the resource `time`. */
  now: () => number;
}

export interface CoapServer {
  start(): Promise<void>;
  /** Answers what is under way, for a while. */
  stop(): Promise<void>;
}

const drainMs = 2000;

export function createCoapServer(options: CoapServerOptions): CoapServer {
  const { settings, door, clock, logger } = options;
  const { maxPayloadBytes, proxyNames, rules } = settings;
  const confirmable = createConfirmable({ clock });
  const time = createTimeResource({
    clock,
    confirmable,
    now: options.now,
    intervalMs: settings.timeIntervalSeconds * 1000,
  });
  const uploads = createUploads({ clock, maxBytes: maxPayloadBytes });
  const handle = createRequestHandler({ rules, door, uploads, time, proxyNames, maxPayloadBytes });
  const exchanges = createExchanges({ clock, logger, confirmable, handle });
  const sockets = createSockets({
    addresses: options.addresses,
    mayMiss: settings.listen === undefined,
    clock,
    logger,
    receive: exchanges.receive,
    onFault: door.setFault,
  });

  return {
    start: sockets.start,
    async stop() {
      time.stop();
      let cancel = () => {};
      const waited = new Promise<void>((resolve) => {
        cancel = clock.after(drainMs, resolve);
      });
      await Promise.race([exchanges.idle(), waited]);
      cancel();
      confirmable.stop();
      await sockets.stop();
    },
  };
}
