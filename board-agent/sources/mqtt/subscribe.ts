/** Brings the session's subscriptions to what is wanted: a session that is still there has the old ones. */
import type { MqttClient } from 'mqtt';
import { messageOf } from '../../../common/runtime/app-error.ts';
import type { BrokerMemory } from './memory.ts';

export interface Wanted {
  filters: readonly string[];
  qos: 0 | 1;
}

/** Resolves with what the broker refuses. Rejects when the connection is lost. */
export async function bringSubscriptions(
  client: MqttClient,
  { filters, qos }: Wanted,
  sessionPresent: boolean,
  memory: BrokerMemory,
): Promise<string[]> {
  const label = (filter: string) => `${qos} ${filter}`;
  const there = new Set(sessionPresent ? memory.subscriptions() : []);
  const gone = [...there].map((each) => each.slice(2)).filter((each) => !filters.includes(each));
  if (gone.length > 0) await client.unsubscribeAsync(gone);
  const refused: string[] = [];
  const granted: string[] = [];
  for (const filter of filters) {
    if (there.has(label(filter))) {
      granted.push(label(filter));
      continue;
    }
    try {
      // rh: retained messages come only to a subscription that is new (MQTT 5).
      await client.subscribeAsync(filter, { qos, rh: 1 });
      granted.push(label(filter));
    } catch (error) {
      if (!client.connected) throw error;
      refused.push(`${filter}: ${messageOf(error)}`);
    }
  }
  memory.noteSubscriptions(granted);
  return refused;
}
