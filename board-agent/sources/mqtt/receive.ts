/** What is done with one message of the broker. */
import type { IPublishPacket } from 'mqtt';
import { quickKey } from '../../intake/quick-hash.ts';
import type { IntakeDoor, IntakeOutcome, RawMessage } from '../../intake/types.ts';
import { type Deliveries, type Delivery, transmissionOf } from './deliveries.ts';
import type { BrokerMemory } from './memory.ts';
import type { MqttSourceSettings } from './settings.ts';
import { takes } from './topics.ts';

export interface ReceiveOptions {
  settings: Pick<MqttSourceSettings, 'retained'>;
  door: Pick<IntakeDoor, 'take'>;
  memory: Pick<BrokerMemory, 'noteMessage' | 'isLastMessage'>;
  deliveries: Deliveries;
  /** What comes beside these is meant for commands, or for nobody. */
  readingFilters: readonly string[];
  /** A retained one was taken: it should be remembered soon. */
  onRetained(): void;
}

/** undefined = it needs no answer: it is not meant for the intake, or a retained one that was taken before. */
export type Receive = (packet: IPublishPacket) => Promise<IntakeOutcome> | undefined;

const fieldNames = ['device', 'seq', 'mac'] as const;

export function createReceive({
  settings,
  door,
  memory,
  deliveries,
  readingFilters,
  onRetained,
}: ReceiveOptions): Receive {
  const isReading = rememberSome((topic) => readingFilters.some((filter) => takes(filter, topic)));

  async function takeAgain(earlier: Promise<IntakeOutcome>, message: RawMessage): Promise<IntakeOutcome> {
    const outcome = await earlier;
    return outcome.status === 'unavailable' ? door.take(message) : outcome;
  }

  return (packet) => {
    const { topic, qos, retain } = packet;
    if (!isReading(topic)) return undefined;
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
    const digest = quickKey(topic, payload);
    if (retain && (settings.retained === 'ignore' || memory.isLastMessage(topic, digest))) return undefined;
    if (retain) onRetained();
    const message: RawMessage = { path: topic, payload, ...carriedBy(packet) };
    if (qos !== 1) return noted(door.take(message), topic, digest);
    const delivery: Delivery = { messageId: packet.messageId ?? 0, dup: packet.dup, hash: digest };
    const known = deliveries.find(delivery);
    const repetition = deliveries.isRepetition(delivery);
    const full = { ...message, transmission: transmissionOf(delivery), repetition };
    const outcome = known ? takeAgain(known, full) : door.take(full);
    deliveries.note(delivery, outcome);
    return noted(outcome, topic, digest);
  };

  function noted(outcome: Promise<IntakeOutcome>, topic: string, digest: string): Promise<IntakeOutcome> {
    if (settings.retained === 'ignore') return outcome;
    return outcome.then((each) => {
      if (each.status !== 'unavailable') memory.noteMessage(topic, digest);
      return each;
    });
  }
}

/** User properties and content type of MQTT 5. */
function carriedBy({ properties }: IPublishPacket): Pick<RawMessage, 'contentType' | 'fields'> {
  if (!properties) return {};
  const { userProperties, contentType } = properties;
  const fields: Record<string, string> = {};
  for (const name of fieldNames) {
    const value = userProperties && Object.hasOwn(userProperties, name) ? userProperties[name] : undefined;
    const text = Array.isArray(value) ? value.at(-1) : value;
    if (text !== undefined) fields[name] = text;
  }
  return { ...(contentType !== undefined && { contentType }), ...(userProperties && { fields }) };
}

const maxRemembered = 10_000;

/** Topics are many messages each. */
function rememberSome(find: (text: string) => boolean): (text: string) => boolean {
  let known = new Map<string, boolean>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    if (known.size >= maxRemembered) known = new Map();
    const found = find(text);
    known.set(text, found);
    return found;
  };
}
