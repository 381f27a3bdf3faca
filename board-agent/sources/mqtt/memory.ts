/**
 * What a source remembers of its broker across restarts: the name that its session has there, what
 * that session is subscribed to, and which retained messages were taken. The last may be some minutes
 * behind when the board loses its power; it only matters if the broker has lost the session as well.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { asArray, asObject, asString } from '../../../common/runtime/guards.ts';
import { writeFileAtomic } from '../../state/atomic-file.ts';

export interface BrokerMemory {
  clientId: string;
  subscriptions(): readonly string[];
  noteSubscriptions(subscriptions: readonly string[]): void;
  /** The last message of the topic was this one. */
  noteMessage(topic: string, hash: string): void;
  isLastMessage(topic: string, hash: string): boolean;
  /** When there is something new. Throws what the file system throws. */
  save(): void;
}

const maxTopics = 10_000;
const clientIdPattern = /^[A-Za-z0-9_.:-]{1,64}$/;

export function openMemory(path: string, wantedClientId: string | undefined): BrokerMemory {
  const found = read(path);
  // 22 characters: every broker takes up to 23.
  const clientId = wantedClientId ?? found.clientId ?? `bw${randomBytes(10).toString('hex')}`;
  // Another session knows nothing of these.
  let subscriptions = found.clientId === clientId ? found.subscriptions : [];
  const last = new Map(found.last);
  let changed = found.clientId !== clientId;

  function save(): void {
    if (!changed) return;
    writeFileAtomic(path, JSON.stringify({ clientId, subscriptions, last: [...last] }), {
      mode: 0o600,
      durable: true,
    });
    changed = false;
  }

  return {
    clientId,
    subscriptions: () => subscriptions,
    noteSubscriptions(wanted) {
      if (JSON.stringify(wanted) === JSON.stringify(subscriptions)) return;
      subscriptions = [...wanted];
      changed = true;
    },
    noteMessage(topic, hash) {
      const known = last.get(topic);
      if (known === hash) return;
      if (known === undefined && last.size >= maxTopics) last.delete(last.keys().next().value ?? '');
      last.set(topic, hash);
      changed = true;
    },
    isLastMessage: (topic, hash) => last.get(topic) === hash,
    save,
  };
}

interface Remembered {
  clientId?: string;
  subscriptions: string[];
  last: [string, string][];
}

function read(path: string): Remembered {
  try {
    const input = asObject(JSON.parse(readFileSync(path, 'utf8')), 'memory');
    const list = (value: unknown, field: string) => asArray(value, field, { max: maxTopics });
    return {
      clientId: asString(input.clientId, 'clientId', { max: 64, pattern: clientIdPattern }),
      subscriptions: list(input.subscriptions, 'subscriptions').map(String),
      last: list(input.last, 'last').map((each) => {
        const [topic, hash] = list(each, 'last');
        return [String(topic), String(hash)];
      }),
    };
  } catch {
    // The first start, or a damaged file: the broker keeps the old session until it expires.
    return { subscriptions: [], last: [] };
  }
}
