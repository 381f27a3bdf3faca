/**
 * Fresh readings for the listeners of this process: streams from every live wamp-agent, open only
 * while somebody wants readings. Per agent at most two, because what is asked for decides how boards
 * behave:
 *   watched  the boards of listeners that watch a few: these boards send every second meanwhile.
 *   wide     whole tenants, for listeners of many boards: the boards keep their pace.
 * A changed interest opens a new stream beside the old one, which is closed when the new one serves.
 */
import type { LiveAgent } from '../../common/db/queries/wamp-agents.ts';
import type { AgentDirectory } from '../../common/relay/agent-directory.ts';
import { type LiveStream, openLiveStream } from '../../common/relay/live-client.ts';
import type { LiveReadings, RelayInterest } from '../../common/relay/messages.ts';
import { every, type RepeatingTask } from '../../common/runtime/every.ts';
import type { Logger } from '../../common/runtime/logger.ts';

/** Either a few boards, which are watched, or all of some tenants (null = all tenants). */
export type ReadingsInterest = { boards: readonly string[] } | { tenants: readonly string[] | null };

export interface ReadingsSubscription {
  change(interest: ReadingsInterest): void;
  stop(): void;
}

export interface LiveReadingsHub {
  subscribe(interest: ReadingsInterest, take: (readings: LiveReadings) => void): ReadingsSubscription;
  stop(): Promise<void>;
}

export interface LiveReadingsOptions {
  directory: AgentDirectory;
  key: string;
  logger: Logger;
  /** How often agents that appeared or died are noticed. */
  reconcileMs?: number;
}

type Kind = 'watched' | 'wide';

interface Subscriber {
  interest: ReadingsInterest;
  take: (readings: LiveReadings) => void;
}

interface AgentStream {
  /** The interest as text: another one needs another stream. */
  wanted: string;
  serving: LiveStream | undefined;
  opening: LiveStream | undefined;
}

/** Listeners come and go in bursts (a page that opens several, a restart). */
const settleMs = 50;

export function createLiveReadings(options: LiveReadingsOptions): LiveReadingsHub {
  const { directory, logger } = options;
  const subscribers = new Set<Subscriber>();
  const streams = new Map<string, AgentStream>();
  let task: RepeatingTask | undefined;
  let settling: NodeJS.Timeout | undefined;

  function deliver(kind: Kind, readings: LiveReadings): void {
    for (const { interest, take } of subscribers) if (kindOf(interest) === kind) take(readings);
  }

  function changed(): void {
    settling ??= setTimeout(() => {
      settling = undefined;
      void reconcile().catch((error: unknown) =>
        logger.warn({ err: error }, 'live readings are not up to date'),
      );
    }, settleMs);
    task ??= every({ name: 'live readings', intervalMs: options.reconcileMs ?? 1000, logger }, reconcile);
  }

  /** Opens what is missing, closes what is not needed any more. */
  async function reconcile(): Promise<void> {
    const agents = subscribers.size === 0 ? [] : await directory.all();
    const needed = new Set<string>();
    for (const kind of ['watched', 'wide'] as const) {
      const interest = unionOf(kind, subscribers);
      if (interest === undefined) continue;
      for (const agent of agents) {
        needed.add(`${agent.id} ${kind}`);
        ensure(agent, kind, interest);
      }
    }
    for (const [name, stream] of streams) {
      if (needed.has(name)) continue;
      streams.delete(name);
      close(stream);
    }
    if (subscribers.size === 0) {
      const ending = task;
      task = undefined;
      // Not awaited: the task may be the one that runs this.
      void ending?.stop();
    }
  }

  function ensure(agent: LiveAgent, kind: Kind, interest: RelayInterest): void {
    const name = `${agent.id} ${kind}`;
    const wanted = `${agent.relayUrl} ${JSON.stringify(interest)}`;
    const stream: AgentStream = streams.get(name) ?? { wanted: '', serving: undefined, opening: undefined };
    streams.set(name, stream);
    if (stream.wanted === wanted && (stream.serving ?? stream.opening) !== undefined) return;
    stream.wanted = wanted;
    stream.opening?.close();
    const opened = openLiveStream({
      relayUrl: agent.relayUrl,
      key: options.key,
      interest,
      onOpen() {
        stream.serving?.close();
        stream.serving = opened;
        stream.opening = undefined;
      },
      onReadings: (readings) => deliver(kind, readings),
      onEnd(reason) {
        if (stream.serving === opened) stream.serving = undefined;
        if (stream.opening === opened) stream.opening = undefined;
        // An old stream that ends while the new one opens leaves nothing to do; else the task opens another.
        logger.debug({ agentId: agent.id, reason }, 'a stream of readings ended');
      },
    });
    stream.opening = opened;
  }

  return {
    subscribe(interest, take) {
      const subscriber = { interest, take };
      subscribers.add(subscriber);
      changed();
      return {
        change(next) {
          if (JSON.stringify(next) === JSON.stringify(subscriber.interest)) return;
          subscriber.interest = next;
          changed();
        },
        stop() {
          if (subscribers.delete(subscriber)) changed();
        },
      };
    },
    async stop() {
      subscribers.clear();
      clearTimeout(settling);
      const ending = task;
      task = undefined;
      await ending?.stop();
      for (const stream of streams.values()) close(stream);
      streams.clear();
    },
  };
}

function close({ serving, opening }: AgentStream): void {
  serving?.close();
  opening?.close();
}

function kindOf(interest: ReadingsInterest): Kind {
  return 'boards' in interest ? 'watched' : 'wide';
}

/** What all subscribers of a kind want together; undefined when there are none. Sorted, so that it compares. */
export function unionOf(
  kind: Kind,
  subscribers: Iterable<Pick<Subscriber, 'interest'>>,
): RelayInterest | undefined {
  const boards = new Set<string>();
  const tenants = new Set<string>();
  let all = false;
  for (const { interest } of subscribers) {
    if (kindOf(interest) !== kind) continue;
    if ('boards' in interest) for (const board of interest.boards) boards.add(board);
    else if (interest.tenants === null) all = true;
    else for (const tenant of interest.tenants) tenants.add(tenant);
  }
  if (kind === 'watched')
    return boards.size === 0 ? undefined : { boards: [...boards].sort(), tenants: null };
  if (!all && tenants.size === 0) return undefined;
  return { boards: null, tenants: all ? null : [...tenants].sort() };
}
