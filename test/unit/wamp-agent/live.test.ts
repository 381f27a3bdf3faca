import { describe, expect, it } from 'vitest';
import { createLogger } from '../../../common/runtime/logger.ts';
import type { WampSession } from '../../../common/wamp/typed-session.ts';
import { metaUris } from '../../../common/wamp/uris.ts';
import { readConfig } from '../../../wamp-agent/config.ts';
import { createLiveHub } from '../../../wamp-agent/live/hub.ts';
import { createPublisher } from '../../../wamp-agent/live/publisher.ts';
import { createSettings } from '../../../wamp-agent/settings.ts';

const tenant = '11111111-1111-4111-8111-111111111111';
const board = '22222222-2222-4222-8222-222222222222';
const topic = `boardwalk.tenant.${tenant}.board.${board}.readings`;

describe('the publisher', () => {
  it('publishes only while somebody has subscribed', async () => {
    const handlers = new Map<string, (args: unknown[]) => void>();
    const published: string[] = [];
    const session: WampSession = {
      id: 1,
      async call(uri, args) {
        if (uri === metaUris.subscriptionList) return { exact: [5], prefix: [], wildcard: [] };
        return { id: args[0], uri: 'wamp.metatopic', match: 'exact' };
      },
      register: async () => undefined,
      subscribe: async (uri, handler) => void handlers.set(uri, (args) => handler(args, {})),
      publish: (uri) => void published.push(uri),
    };
    const publisher = createPublisher(createLogger('test', 'silent'));
    await publisher.follow(session);
    publisher.publish(topic, {});
    expect(published).toEqual([]);
    handlers.get(metaUris.onSubscriptionCreate)?.([
      9,
      { id: 6, uri: `boardwalk.tenant.${tenant}.`, match: 'prefix' },
    ]);
    publisher.publish(topic, {});
    publisher.publish(topic.replace(tenant, board), {});
    expect(published).toEqual([topic]);
    handlers.get(metaUris.onSubscriptionDelete)?.([9, 6]);
    expect(publisher.hasListeners(topic)).toBe(false);
  });
});

describe('the hub of fresh readings', () => {
  it('sends to whom they concern, and knows who is watched', () => {
    const hub = createLiveHub();
    const lines: string[] = [];
    const end = hub.listen({ boards: [board], tenants: null }, (line) => lines.push(line));
    hub.listen({ boards: null, tenants: [board] }, () => lines.push('other tenant'));
    expect(hub.isWatched(board)).toBe(true);
    expect(hub.wants(tenant, board)).toBe(true);
    expect(hub.wants(tenant, tenant)).toBe(false);
    hub.send({ type: 'readings', tenantId: tenant, boardUuid: board, readings: [] });
    expect(lines).toHaveLength(1);
    end();
    end();
    expect(hub.isWatched(board)).toBe(false);
  });
});

describe('the settings of boards', () => {
  const config = {
    batchIntervalMs: 5000,
    liveBatchIntervalMs: 1000,
    heartbeatIntervalMs: 10_000,
    reconnectSpreadMs: undefined,
  };

  it('follow the number of boards, and remember the peak while a router restarts', () => {
    let now = 0;
    const settings = createSettings({ config, isWatched: (uuid) => uuid === board, now: () => now });
    expect(settings.forBoard('x')).toEqual({
      batchIntervalMs: 5000,
      heartbeatIntervalMs: 10_000,
      reconnectSpreadMs: 1000,
    });
    expect(settings.forBoard(board).batchIntervalMs).toBe(1000);
    settings.countBoards(60);
    expect(settings.forBoard('x').reconnectSpreadMs).toBe(5000);
    settings.countBoards(3000);
    expect(settings.forBoard('x')).toMatchObject({ heartbeatIntervalMs: 30_000, reconnectSpreadMs: 20_000 });
    settings.countBoards(0);
    expect(settings.forBoard('x').reconnectSpreadMs).toBe(20_000);
    now = 600_001;
    settings.countBoards(0);
    expect(settings.forBoard('x').reconnectSpreadMs).toBe(1000);
  });
});

describe('the configuration', () => {
  it('reports every fault at once', () => {
    expect(() => readConfig({ BOARDWALK_RELAY_KEY: 'short', BOARDWALK_BOARD_URLS: 'http://x' })).toThrow(
      expect.objectContaining({
        faults: expect.arrayContaining([
          'DATABASE_URL is required',
          'BOARDWALK_ROUTER_SOCKET is required',
          'BOARDWALK_AGENT_TICKET is required',
          expect.stringContaining('BOARDWALK_BOARD_URLS'),
          expect.stringContaining('BOARDWALK_RELAY_KEY'),
        ]),
      }),
    );
  });
});
