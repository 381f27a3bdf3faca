/**
 * What every source that hears messages must do, whatever it speaks: acknowledge after the commit
 * and not before, give nothing up that was not kept, live through rubbish, stop and start again, and
 * say when it does not hear.
 */
import { createSocket } from 'node:dgram';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, describe, expect, it } from 'vitest';
import { findFreePort } from '../../../bin/stack/ports.ts';
import { kindOf, sourceKinds } from '../../../board-agent/sources/kinds.ts';
import { runCoapClient } from '../../harness/coap-client.ts';
import { startMosquitto, type TestMosquitto } from '../../harness/mosquitto.ts';
import { repositoryRoot } from '../../harness/tools.ts';
import { findFreeUdpPort } from '../../harness/udp-coap.ts';
import { until } from '../../harness/until.ts';
import { type OpenSource, openSource, stored, unavailable, type Wanted } from './source-support.ts';

const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0).reverse()) await each();
});

/** How a sender learns what became of its message: it is told, or the message comes again until it is kept. */
interface Wire {
  settings: Wanted;
  /** True when the sender was told that it is kept; undefined when it is told nothing. */
  send(text: string): Promise<boolean | undefined>;
  rubbish(): Promise<unknown>;
  /** Makes that the source cannot hear, and ends it. */
  away(): Promise<void>;
  back(): Promise<void>;
}

const wires: Record<string, (source: () => OpenSource) => Promise<Wire>> = {
  async http(source) {
    const port = await findFreePort();
    const post = (text: string | Buffer) =>
      new Promise<boolean>((resolve, reject) => {
        const sent = request({ port, path: '/r', method: 'POST', agent: false }, (response) => {
          response.resume();
          response.on('end', () => resolve(response.statusCode === 200));
        });
        sent.on('error', reject);
        sent.end(text);
      });
    const other = createServer();
    return {
      settings: { kind: 'http', port, rules },
      send: post,
      rubbish: () => post(Buffer.alloc(300_000, 0xff)),
      async away() {
        await source().source.stop();
        await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', () => resolve()));
        await source().reopen();
      },
      back: () => new Promise((resolve) => void other.close(() => resolve())),
    };
  },

  async coap(source) {
    const port = await findFreeUdpPort();
    const other = createSocket('udp4');
    return {
      settings: { kind: 'coap', port, listen: [{ address: '127.0.0.1', port }], rules },
      async send(payload) {
        const url = `coap://127.0.0.1:${port}/r`;
        return (await runCoapClient(['-m', 'post', '-t', 'json', url], { payload })).code === '2.04';
      },
      rubbish: () =>
        new Promise<void>((resolve) => {
          const sender = createSocket('udp4');
          sender.send(Buffer.alloc(1000, 0xff), port, '127.0.0.1', () => {
            sender.close();
            resolve();
          });
        }),
      async away() {
        await source().source.stop();
        await new Promise<void>((resolve) => void other.bind(port, '127.0.0.1', () => resolve()));
        await source().reopen();
      },
      back: () => new Promise((resolve) => void other.close(() => resolve())),
    };
  },

  async mqtt() {
    const broker: TestMosquitto = await startMosquitto();
    const device: MqttClient = await connectAsync(broker.url, { reconnectPeriod: 50 });
    cleanUp.push(
      () => broker.stop(),
      () => device.endAsync(true),
    );
    const publish = (payload: string | Buffer) => device.publishAsync('r', payload, { qos: 1 });
    return {
      settings: { kind: 'mqtt', urls: [broker.url], rules },
      async send(text) {
        await publish(text);
        return undefined;
      },
      rubbish: () => publish(Buffer.alloc(300_000, 0xff)),
      away: () => broker.down(),
      back: () => broker.up(),
    };
  },

  async line() {
    const folder = mkdtempSync(join(tmpdir(), 'boardwalk-lines-'));
    const file = join(folder, 'lines');
    writeFileSync(file, '');
    cleanUp.push(() => rmSync(folder, { recursive: true }));
    return {
      settings: { kind: 'line', file, path: 'r', rules },
      async send(text) {
        appendFileSync(file, `${text}\n`);
        return undefined;
      },
      rubbish: async () =>
        appendFileSync(file, Buffer.concat([Buffer.alloc(300_000, 0xff), Buffer.from('\n')])),
      away: async () => rmSync(file),
      back: async () => writeFileSync(file, ''),
    };
  },
};

const rules = [{ match: 'r', decoder: 'json' }];

async function open(kind: string): Promise<{ wire: Wire; source: OpenSource }> {
  let source: OpenSource | undefined;
  const wire = await (wires[kind] as (typeof wires)[string])(() => source as OpenSource);
  source = await openSource(wire.settings);
  const opened = source;
  cleanUp.push(() => opened.close());
  await until('it hears', () => opened.faults.length > 0 && opened.fault() === undefined);
  return { wire, source: opened };
}

const count = (source: OpenSource, text: string) => source.texts().filter((each) => each === text).length;

describe.each(Object.keys(wires))('a source of kind %s', (kind) => {
  it('tells nobody that a message is kept before it is', async () => {
    const { wire, source } = await open(kind);
    const gate = Promise.withResolvers<void>();
    source.answer(async () => {
      await gate.promise;
      return stored;
    });
    let told: boolean | undefined;
    const sent = wire.send('one').then((answer) => {
      told = answer;
      return answer;
    });
    await until('it is heard', () => count(source, 'one') > 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(told).toBeUndefined();
    gate.resolve();
    expect(await sent).not.toBe(false);
  });

  it('keeps what the spool does not take: its sender is told, or it comes again', async () => {
    const { wire, source } = await open(kind);
    let isFull = true;
    source.answer(async () => (isFull ? unavailable : stored));
    const told = await wire.send('one');
    await until('it is heard', () => count(source, 'one') > 0);
    isFull = false;
    if (told === undefined) {
      const before = count(source, 'one');
      await until('it comes again', () => count(source, 'one') > before, { timeoutMs: 20_000 });
    } else {
      expect(told).toBe(false);
      expect(await wire.send('one')).toBe(true);
    }
  });

  it('lives through rubbish, and hears the next message', async () => {
    const { wire, source } = await open(kind);
    await wire.rubbish();
    expect(await wire.send('after')).not.toBe(false);
    await until('it is heard', () => count(source, 'after') === 1);
  });

  it('stops, and hears again when it is made anew in the same folder', async () => {
    const { wire, source } = await open(kind);
    await source.reopen();
    await until('it hears', () => source.fault() === undefined);
    expect(await wire.send('two')).not.toBe(false);
    await until('it is heard', () => count(source, 'two') === 1);
    await source.source.stop();
    await source.source.stop();
  });

  it('says when it does not hear, and when it does again', async () => {
    const { wire, source } = await open(kind);
    await wire.away();
    await until('there is a fault', () => source.fault() !== undefined, { timeoutMs: 20_000 });
    await wire.back();
    await until('it hears again', () => source.fault() === undefined, { timeoutMs: 30_000 });
    expect(await wire.send('again')).not.toBe(false);
    await until('it is heard', () => count(source, 'again') === 1, { timeoutMs: 20_000 });
  });
});

describe('a kind of source', () => {
  it('that hears messages is held to this contract', () => {
    const hearing = sourceKinds.filter(({ schema }) => Object.hasOwn(schema.properties, 'rules'));
    expect(Object.keys(wires).sort()).toEqual(hearing.map(kindOf).sort());
  });

  it('is a folder: nothing else in the agent knows of it', () => {
    const agent = join(repositoryRoot, 'board-agent');
    const folder = join(agent, 'sources');
    const kinds = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && readdirSync(join(folder, entry.name)).includes('kind.ts'))
      .map(({ name }) => name);
    expect(kinds).toEqual(sourceKinds.map(kindOf));
    const files = readdirSync(agent, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.name.endsWith('.ts') && !/node_modules|dist/.test(entry.parentPath))
      .map((entry) => join(entry.parentPath, entry.name));
    const strangers = files.flatMap((file) => {
      const text = readFileSync(file, 'utf8');
      return kinds
        .filter((kind) => !file.startsWith(join(folder, kind, '/')))
        .filter((kind) => new RegExp(`from '[^']*/${kind}/`).test(text))
        .map((kind) => `${relative(agent, file)} → ${kind}`);
    });
    expect(strangers).toEqual([]);
  });
});
