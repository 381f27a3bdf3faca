/** What a broker may ask of who publishes, which mosquitto does not hold against anybody. */
import { describe, expect, it } from 'vitest';
import { numbers, useDelivery } from './delivery-support.ts';
import { type MqttStubOptions, startMqttStub } from './mqtt-stub.ts';

const delivery = useDelivery();
const { setUp, startOne, allGone, expectBalance, cleanUps } = delivery;

async function startBroker(options: MqttStubOptions) {
  const broker = await startMqttStub(options);
  cleanUps.push(broker.stop);
  const values = () => broker.taken.map((text) => (JSON.parse(text) as { value: number }).value);
  return { ...broker, values };
}

describe('delivery to a broker', () => {
  it('has no more messages under way than the broker takes', async () => {
    const broker = await startBroker({ receiveMaximum: 3 });
    const sink = await setUp({ kind: 'mqtt', settings: { url: broker.url }, secrets: {}, batchSize: 50 });
    await sink.store(120);
    startOne();
    await allGone(sink);
    expect(broker.values()).toEqual(numbers(1, 120));
    expect(broker.most()).toBe(3);
    expect(broker.cuts()).toBe(0);
    await expectBalance(sink, { delivered: 120, rejected: 0, duplicate: 0 });
  });

  it('waits where a quota is exceeded, and sets aside only what is about a message', async () => {
    const broker = await startBroker({
      receiveMaximum: 5,
      reasonOf: (payload, count) => {
        if (payload.endsWith('"value":8}')) return 0x99;
        return count % 7 === 0 ? 0x97 : 0;
      },
    });
    const sink = await setUp({ kind: 'mqtt', settings: { url: broker.url }, secrets: {}, batchSize: 20 });
    await sink.store(40);
    startOne();
    await allGone(sink);
    expect(new Set(broker.values())).toEqual(new Set(numbers(1, 40).filter((each) => each !== 8)));
    await expectBalance(sink, { delivered: 39, rejected: 1, lost: 0 });
  });
});
