import { afterEach, describe, expect, it } from 'vitest';
import { type LiveStream, openLiveStream } from '../../../common/relay/live-client.ts';
import type { LiveReadings } from '../../../common/relay/messages.ts';
import { until } from '../../harness/until.ts';
import { type FakeRelay, startFakeRelay } from './fake-relay.ts';

const readings: LiveReadings = { type: 'readings', tenantId: 't', boardUuid: 'b', readings: [] };

describe('a live stream of readings', () => {
  let relay: FakeRelay;
  let stream: LiveStream;
  let received: LiveReadings[];
  let ends: string[];

  afterEach(async () => {
    stream.close();
    await relay.stop();
  });

  async function open(answer: Parameters<typeof startFakeRelay>[1], silenceMs?: number) {
    relay = await startFakeRelay('a', answer);
    received = [];
    ends = [];
    stream = openLiveStream({
      relayUrl: relay.agent.relayUrl,
      key: 'k',
      interest: { boards: ['b'], tenants: null },
      onReadings: (each) => received.push(each),
      onEnd: (reason) => ends.push(reason),
      ...(silenceMs !== undefined && { silenceMs }),
    });
  }

  it('asks for what it is interested in and hands out readings, also when a line comes in pieces', async () => {
    await open((_request, response) => {
      const line = JSON.stringify(readings);
      response.write(`{"type":"beat"}\n${line}\n${line.slice(0, 20)}`);
      setTimeout(() => response.write(`${line.slice(20)}\n`), 30);
    });
    await until('both lines', () => received.length === 2);
    expect(received[1]).toEqual(readings);
    expect(relay.received[0]).toEqual({ boards: ['b'], tenants: null });
    expect(ends).toEqual([]);
  });

  it('reports its end once when the relay goes away', async () => {
    await open((request, response) => {
      response.write('{"type":"beat"}\n');
      setTimeout(() => request.socket.destroy(), 20);
    });
    await until('the end', () => ends.length === 1);
  });

  it('reports a refusal', async () => {
    await open((_request, response) => response.writeHead(401).end());
    await until('the end', () => ends[0] === 'refused with 401');
  });

  it('ends when the relay falls silent', async () => {
    await open((_request, response) => response.write('{"type":"beat"}\n'), 60);
    await until('the end', () => ends[0] === 'silent for too long');
  });

  it('reports no end after it was closed', async () => {
    const gone: unknown[] = [];
    await open((request, response) => {
      request.socket.on('close', () => gone.push(true));
      response.write('{"type":"beat"}\n');
    });
    await until('the request arrived', () => relay.received.length === 1);
    stream.close();
    await until('the relay sees it', () => gone.length);
    expect(ends).toEqual([]);
  });
});
