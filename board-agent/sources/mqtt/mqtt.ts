/**
 * Hears messages of an MQTT broker. PUBACK is sent once a message is on disk; while the intake takes
 * nothing the connection is closed, so that the broker keeps the messages and sends them again. Tries
 * for ever to come back.
 *
 * Nothing that comes from the broker can call a procedure: messages become readings, or the answer
 * that a command of this board waits for.
 */
import { join } from 'node:path';
import type { IPublishPacket, MqttClient } from 'mqtt';
import { messageOf } from '../../../common/runtime/app-error.ts';
import { backoffDelayMs } from '../../../common/runtime/backoff.ts';
import { ConfigError } from '../../../common/runtime/config.ts';
import { pause } from '../../clock.ts';
import type { IntakeOutcome } from '../../intake/types.ts';
import { createCommands } from '../commands/commands.ts';
import type { Source, SourceContext } from '../source.ts';
import { createCarrier } from './command-carrier.ts';
import { type Connection, openConnection } from './connection.ts';
import { createDeliveries } from './deliveries.ts';
import { readCredentials } from './files.ts';
import { openMemory } from './memory.ts';
import { createReceive } from './receive.ts';
import type { MqttSourceSettings } from './settings.ts';
import { bringSubscriptions } from './subscribe.ts';
import { toFilter, withoutOverlap } from './topics.ts';

const backoff = { baseMs: 500, capMs: 30_000 };
/** A connection that lived shorter than this counts as a failed attempt. */
const steadyMs = 10_000;
const saveEveryMs = 300_000;
const saveSoonMs = 1000;

export function createMqttSource(settings: MqttSourceSettings, context: SourceContext): Source {
  const { clock } = context;
  const logger = context.logger.child({ source: settings.name });
  const door = context.intake.open('mqtt', settings);
  const memory = openMemory(join(context.stateDir, `mqtt-${settings.name}.json`), settings.clientId);
  // Fails early, with all else that is wrong with the settings.
  attempt(() => readCredentials(settings));
  let connection: Connection | undefined;
  let fault = 'not started';
  let running: { abort: AbortController; ended: Promise<void> } | undefined;

  const isUp = (): MqttClient | { fault: string } =>
    connection?.client.connected === true ? connection.client : { fault };
  const carrier = createCarrier(settings, memory.clientId, isUp);
  const readingFilters = settings.topics ?? settings.rules.map((rule) => toFilter(rule.match));
  const filters = withoutOverlap([...readingFilters, ...carrier.filters]);
  const deliveries = createDeliveries(2 * settings.maxInFlight);
  let cancelSave: (() => void) | undefined;
  const receive = createReceive({
    settings,
    door,
    memory,
    deliveries,
    readingFilters,
    onRetained: () => {
      cancelSave ??= clock.after(saveSoonMs, save);
    },
  });

  function setFault(reason: string | undefined): void {
    if (reason !== undefined && reason !== fault) logger.warn({ reason }, 'nothing is heard of the broker');
    if (reason === undefined) logger.info({ filters }, 'hearing the broker');
    fault = reason ?? '';
    door.setFault(reason);
  }

  async function connectOnce(url: string, signal: AbortSignal): Promise<{ reason: string; waitMs?: number }> {
    const { host } = new URL(url);
    try {
      const opened = await openConnection({
        url,
        settings,
        clientId: memory.clientId,
        credentials: readCredentials(settings),
        onConnect: (sessionPresent) => void greet(opened, sessionPresent),
        onMessage,
      });
      connection = opened;
      const stop = () => void opened.end();
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      const { reason, retryAfterSeconds } = await opened.closed;
      signal.removeEventListener('abort', stop);
      return {
        reason: `${host}: ${reason}`,
        ...(retryAfterSeconds !== undefined && { waitMs: retryAfterSeconds * 1000 }),
      };
    } catch (error) {
      return { reason: messageOf(error) };
    } finally {
      connection = undefined;
      save();
    }
  }

  async function greet({ client }: Connection, sessionPresent: boolean): Promise<void> {
    if (!sessionPresent) deliveries.forget();
    try {
      const refused = await bringSubscriptions(
        client,
        { filters, qos: settings.qos },
        sessionPresent,
        memory,
      );
      // Who is killed now should find the session's subscriptions again.
      save();
      setFault(refused.length > 0 ? `the broker refuses ${refused.join(', ')}`.slice(0, 500) : undefined);
    } catch (error) {
      // Its end is dealt with where the connection is.
      logger.debug({ reason: messageOf(error) }, 'the connection was lost before all was subscribed');
    }
  }

  function onMessage(packet: IPublishPacket): Promise<IntakeOutcome> | undefined {
    carrier.hear(packet);
    return receive(packet);
  }

  function save(): void {
    cancelSave?.();
    cancelSave = undefined;
    attempt(
      () => memory.save(),
      (error) => logger.warn({ reason: messageOf(error) }, 'what is known of the broker could not be stored'),
    );
  }

  async function run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    for (let turn = 0; !signal.aborted; turn += 1) {
      const startedMs = clock.monotonicMs();
      const url = settings.urls[turn % settings.urls.length] ?? '';
      const { reason, waitMs } = await connectOnce(url, signal);
      if (signal.aborted) return;
      setFault(reason.slice(0, 500));
      failures = clock.monotonicMs() - startedMs >= steadyMs ? 0 : failures + 1;
      const delayMs = Math.max(waitMs ?? 0, backoffDelayMs(failures, backoff));
      await pause(clock, delayMs, signal);
    }
  }

  async function keepSaving(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(clock, saveEveryMs, signal);
      save();
    }
  }

  return {
    ...createCommands(settings.commands, carrier, clock),
    start() {
      if (running) return;
      const abort = new AbortController();
      // As each start is, so nobody is warned.
      fault = 'not connected yet';
      door.setFault(fault);
      const parts = [run(abort.signal), keepSaving(abort.signal)];
      running = { abort, ended: Promise.all(parts).then(() => undefined) };
    },
    async stop() {
      running?.abort.abort();
      await running?.ended;
      running = undefined;
    },
  };
}

/** Throws ConfigError unless told what else to do. */
function attempt(work: () => unknown, onError?: (error: unknown) => void): void {
  try {
    work();
  } catch (error) {
    if (!onError) throw new ConfigError([messageOf(error)]);
    onError(error);
  }
}
